"""The metrics: what each is made of, and the one place where they are listed.

A metric is data. `chunk` turns a block of rows into sufficient statistics (float64), `combine`
merges two of them and is associative and commutative, `finalize` makes the number. However the
rows are split and in whichever order the parts are merged, the number is the same. Metrics that
name the same `chunk` share its statistics: they are gathered once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from actstore.metrics.statistics import PerText
from actstore.refs import look_up

Over = Literal["pooled", "pairs", "views", "tokens", "lens"]
ORDER: tuple[Over, ...] = ("pooled", "pairs", "views", "tokens", "lens")


Invariance = Literal["rotation", "scaling", "row scaling", "translation"]
"""An orthogonal map, a positive factor for all states, one for each row, a vector added to all."""


class Statistics(Protocol):
    """What every statistic can say about itself."""

    @property
    def n(self) -> int:
        """How many rows, texts or tokens the number is over."""

    @property
    def n_undefined(self) -> int:
        """How many more there were for which it is not defined."""

    @property
    def degenerate(self) -> str:
        """Why no number can be made of it (`the rows do not vary`); empty if one can."""


Block = TypeVar("Block")
Stats = TypeVar("Stats", bound=Statistics)


@dataclass(frozen=True)
class Metric(Generic[Block, Stats]):
    """One label-free number per (checkpoint, layer)."""

    name: str
    over: Over
    """What a chunk is given: rows of a pooled array (PooledBlock), the same rows of two
    (PairBlock), views of texts (ViewsBlock), whole texts of a token sample (TokenBlock), or what
    the logit lens says of their tokens (LensBlock)."""
    chunk: Callable[[Block], Stats]
    combine: Callable[[Stats, Stats], Stats]
    finalize: Callable[[Stats], float]
    """NaN where the statistic is `degenerate` (one row, constant rows, one token), and where this
    metric alone needs more (two directions); never 0.0 for want of data."""
    description: str
    """One line: what it is."""
    formula: str
    """In LaTeX, without the dollars: X are rows, x_i one of them, n their number."""
    range: str
    unit: str
    reference: str
    """The definition's source, and which of its variants this is."""
    cost: str
    """Arithmetic for n rows (texts, tokens) of d dimensions: `n d^2 + d^3`."""
    invariant_to: frozenset[Invariance] = frozenset()
    """What may be done to the states without changing the number; the tests try each."""
    ordered: bool = False
    """Whether the order of tokens within a text matters. That of rows or texts never does."""
    quantities: tuple[str, ...] = ()
    """Over "lens": what the chunk reads of `LensBlock.values`."""
    per_text: Callable[[Stats], PerText] | None = None
    """Of a mean over texts, or over their tokens: the numbers of single texts, which are kept."""
    all_pairs: bool = False
    """Compares every row with every other: is given a sample of the rows, of bounded size."""
    if_named: bool = False
    """Computed only where it is asked for by name: it takes as long as all others together."""
    needs_mean: bool = False
    """Over "pooled": the chunk needs the mean of all rows, which takes a first pass over them."""


METRICS: dict[str, Metric[Any, Any]] = {}


def register(metric: Metric[Block, Stats]) -> Metric[Block, Stats]:
    """Adds a metric to METRICS and returns it; its name must be new."""
    if metric.name in METRICS:
        raise RuntimeError(f"the metric {metric.name} is registered twice")
    METRICS[metric.name] = metric
    return metric


def all_metrics() -> tuple[Metric[Any, Any], ...]:
    """Every metric by what it is over, then by name."""
    return tuple(sorted(METRICS.values(), key=lambda m: (ORDER.index(m.over), m.name)))


def default_metrics() -> tuple[Metric[Any, Any], ...]:
    """Those that are computed where none is asked for by name."""
    return tuple(metric for metric in all_metrics() if not metric.if_named)


def list_metrics() -> list[tuple[str, str, str, str, str]]:
    """Every metric as a line of a table: name, what it is over, unit, range, source."""
    return [(m.name, m.over, m.unit, m.range, m.reference) for m in all_metrics()]


def resolve_metrics(names: Iterable[str]) -> tuple[Metric[Any, Any], ...]:
    """The metrics of these names, in this order, without repeats.

    Raises UnknownNameError, with the nearest names, for one that is not registered.
    """
    known = [metric.name for metric in all_metrics()]
    list_them = "See them all with: actstore metrics --list"
    return tuple(
        METRICS[look_up("metric", name, known, list_them)] for name in dict.fromkeys(names)
    )
