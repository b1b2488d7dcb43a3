"""Collecting: a suite's texts and its tasks' data into the store."""
