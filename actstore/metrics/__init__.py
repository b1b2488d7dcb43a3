"""Metrics: label-free numbers per checkpoint and layer, computed from the store."""
