"""Scoring: mteb's evaluators on stored layers."""
