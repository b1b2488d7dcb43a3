"""What to compute, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from actstore.dask_pool.places import WorkerJobs
from actstore.shares import Share
from actstore.store import MetricRecord

ALL_PAIRS = 1000
"""Texts that metrics which compare every text with every other are over, at most: as many as in
Skean et al. 2025, where these metrics come from; some take the cube of it."""


@dataclass(frozen=True)
class MetricsRequest:
    """Which metrics of which states of one model."""

    model: str
    checkpoints: tuple[str, ...] = ()
    """All of the model's in the store if empty."""
    layers: str = "all"
    """A selection as `actstore.refs.parse_layers` reads it; `all` means all that are stored."""
    metrics: tuple[str, ...] = ()
    """If empty, all that the stored data allow, but those that take as long as the others."""
    tasks: tuple[str, ...] = ()
    """Over each of these tasks' texts by themselves; else over all texts but views of others."""
    sample: int | None = None
    """Over so many of the texts, drawn by `seed`. Else over all, and those that compare every text
    with every other over ALL_PAIRS of them."""
    seed: int = 0
    poolings: tuple[str, ...] = ("mean",)
    """What metrics of pooled states are computed from."""
    against: tuple[str, ...] = ("previous_layer",)
    """What metrics of pairs compare a layer with; see `references.py`."""
    view_sets: tuple[str, ...] = ()
    """What metrics of views are computed from; all stored ones if empty."""
    token_samples: tuple[str, ...] = ()
    """What metrics of token states are computed from; all stored samples if empty."""
    lenses: tuple[str, ...] = ("final",)
    """How a layer is read: `final`, `next_block`, `raw`, or the name of a fitted lens."""
    interval_groups: int = 0
    """Give metrics that are no means an interval too, by leaving out one of so many groups of
    texts at a time; takes as many times their memory and spectra. 0: none."""
    workers: int = 1
    """Processes on this machine; one computes in this process, without a scheduler."""
    dask: str | None = None
    """Compute on Dask workers: `local` (`workers` processes), `slurm`, or a scheduler's address."""
    worker_jobs: WorkerJobs | None = None
    """What the jobs of `slurm` ask for."""
    overwrite: bool = False
    """Compute again what the store already has for the same inputs."""
    share: Share | None = None
    """Only this part: neighbouring checkpoints. None: all of them."""


@dataclass(frozen=True)
class MetricsReport:
    """What `compute_metrics` did."""

    records: tuple[MetricRecord, ...]
    """The values computed and stored now."""
    reused: int
    """How many of those asked for the store already had, for the same inputs."""
    not_possible: tuple[str, ...]
    """Metrics nobody named that the stored data do not allow, and the command that mends it."""
    seconds: float

    @property
    def undefined(self) -> int:
        """How many of the values are NaN, because the data are degenerate."""
        return sum(record.value != record.value for record in self.records)

    @property
    def reasons(self) -> dict[str, int]:
        """Why values are NaN, and how many are for that reason."""
        found: dict[str, int] = {}
        for record in self.records:
            if record.reason:
                found[record.reason] = found.get(record.reason, 0) + 1
        return found

    def summary(self) -> str:
        """For people: what was computed, what is undefined, and what could not be computed."""
        done = f"{len(self.records):,} metric values computed in {self.seconds:.1f} s"
        if self.reused:
            done += f", {self.reused:,} already there"
        undefined = [f"{n:,} are NaN: {reason}." for reason, n in self.reasons.items()]
        return "\n".join([f"{done}.", *undefined, *self._left_out()])

    def _left_out(self) -> list[str]:
        return [f"Left out: {note}" for note in self.not_possible]
