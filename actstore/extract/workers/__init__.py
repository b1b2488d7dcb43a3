"""Who does the work: one process for each device, claiming shards until all are committed."""
