"""Ranking of given candidates without a Python object for each."""
