"""Reports: figures and tables drawn from the scores and metrics in a store."""
