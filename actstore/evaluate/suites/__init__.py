"""Suites: named lists of MTEB tasks, and the tasks there are."""
