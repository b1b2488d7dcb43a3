"""The logit lens: what every layer would predict, and what follows from it."""

from actstore.metrics.lens import means, quantities, shares, steps  # noqa: F401  (each registers)
