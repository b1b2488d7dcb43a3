"""Arrays of a checkpoint: pooled states, text values, token samples; their Zarr metadata."""
