"""The statistic behind every mean over texts or tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sums:
    """A number per text or token, summed over those where it is defined."""

    n: int
    total: float
    n_undefined: int


def sums_of(values: NDArray[np.float64]) -> Sums:
    """values: (n,), not finite where the number is not defined."""
    defined = values[np.isfinite(values)]
    return Sums(len(defined), float(defined.sum()), len(values) - len(defined))


def merge_sums(a: Sums, b: Sums) -> Sums:
    """The statistic of both parts."""
    return Sums(a.n + b.n, a.total + b.total, a.n_undefined + b.n_undefined)


def mean_of(sums: Sums) -> float:
    """The mean over those where the number is defined; NaN if there is none."""
    return sums.total / sums.n if sums.n else float("nan")
