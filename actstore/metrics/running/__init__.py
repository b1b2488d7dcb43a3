"""From a request to values in the store: plan, graph, work, record."""
