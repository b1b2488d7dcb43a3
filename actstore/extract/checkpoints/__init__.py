"""Which checkpoints are meant, where their files are, and what identifies their weights."""
