"""Metrics of a text's token states."""
