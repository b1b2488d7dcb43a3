"""A SLURM of the tests' own: real daemons, several nodes on one machine, gone after the tests."""
