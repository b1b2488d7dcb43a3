"""What is written down: journals, commit records, sealed documents, plans, runs."""
