"""Dask workers that evaluation and metrics compute on: here, on SLURM, or at an address."""
