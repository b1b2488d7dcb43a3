"""Fitted lenses: maps, learnt from stored token states, that make every layer speak the last's
language."""
