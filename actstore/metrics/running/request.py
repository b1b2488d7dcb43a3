"""What to compute, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from actstore.store import MetricRecord


@dataclass(frozen=True)
class MetricsRequest:
    """Which metrics of which states of one model."""

    model: str
    checkpoints: tuple[str, ...] = ()
    """All of the model's in the store if empty."""
    layers: str = "all"
    """A selection as `actstore.refs.parse_layers` reads it; `all` means all that are stored."""
    metrics: tuple[str, ...] = ()
    """If empty, all that the stored data allow."""
    poolings: tuple[str, ...] = ("mean",)
    """What metrics of pooled states are computed from."""
    token_samples: tuple[str, ...] = ()
    """What metrics of token states are computed from; all stored samples if empty."""
    task: str | None = None
    """Only over this task's texts; else over all texts in the store."""
    workers: int = 1
    """Processes on this machine; one computes in this process, without a scheduler."""
    scheduler: str | None = None
    """Address of a running dask.distributed scheduler, instead of processes of our own."""
    overwrite: bool = False
    """Compute again what the store already has for the same inputs."""


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

    def summary(self) -> str:
        """For people: what was computed, what is undefined, and what could not be computed."""
        done = f"{len(self.records):,} metric values computed in {self.seconds:.1f} s"
        if self.reused:
            done += f", {self.reused:,} already there"
        undefined = "1 of them is" if self.undefined == 1 else f"{self.undefined:,} of them are"
        degenerate = f"{undefined} NaN: the data are degenerate." if self.undefined else ""
        return "\n".join([f"{done}.", *filter(None, [degenerate]), *self._left_out()])

    def _left_out(self) -> list[str]:
        return [f"Left out: {note}" for note in self.not_possible]
