"""The texts of a store: the table of them, their lengths in tokens, views."""
