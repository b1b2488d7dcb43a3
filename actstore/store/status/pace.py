"""How fast all workers together are getting on, from their commit records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WINDOW = 600.0
"""Seconds. Shards that take long are looked at for longer: _SHARDS times as long as they took."""
_SHARDS = 3.0

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Pace:
    """What was committed a second, over the last minutes."""

    shards_per_second: float
    tokens_per_second: float
    """Tokens of the texts run through the model: once, however many poolings were kept of them."""


def window(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many seconds ago a shard may have been committed for it to count still.

    seconds: how long it took.
    """
    return np.maximum(_WINDOW, _SHARDS * seconds)


def pace(records: Iterable[Record], now: float) -> Pace | None:
    """The pace of the last minutes, up to the last commit; None where there was none.

    A shard counts as made evenly over the `seconds` up to its commit `at`. Counted whole at the
    moment of its commit instead, a few long shards would make the pace depend on where the window
    happens to begin.
    """
    lately = [r for r in records if now - r["at"] <= max(_WINDOW, _SHARDS * r["seconds"])]
    end = max((r["at"] for r in lately), default=now)
    longest = max((r["seconds"] for r in lately), default=0.0)
    begun = min((r["at"] - r["seconds"] for r in lately), default=now)
    start = max(begun, end - max(_WINDOW, _SHARDS * longest))
    if end <= start:
        return None
    passes = {(r["at"], r["shard"]): r for r in lately}  # what one pass made is recorded at once
    return Pace(
        shards_per_second=sum(_inside(r, start) for r in lately) / (end - start),
        tokens_per_second=sum(_inside(r, start) * r["n_tokens"] for r in passes.values())
        / (end - start),
    )


def _inside(record: Record, start: float) -> float:
    """How much of a shard was made after `start`, from 0 to 1."""
    seconds, after = float(record["seconds"]), float(record["at"]) - start
    return 1.0 if after >= seconds else max(0.0, after) / seconds
