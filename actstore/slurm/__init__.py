"""Launching actstore on SLURM clusters."""
