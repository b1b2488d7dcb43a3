"""Several processes at one store: leases, which processes live, what dead ones left."""
