"""Scores and metric values: journals, tables made of them, exports."""
