"""The report: one page that holds a store's numbers and draws them, and needs nothing beside it."""
