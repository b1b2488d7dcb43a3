"""Which lenses to fit, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from actstore.dask_pool.places import WorkerJobs
from actstore.metrics.lens.fitted.tuned import TuningSettings
from actstore.shares import Share


@dataclass(frozen=True)
class LensFitRequest:
    """Which fitted lenses of which checkpoints of one model."""

    model: str
    checkpoints: tuple[str, ...] = ()
    """All of the model's in the store if empty."""
    kinds: tuple[str, ...] = ("affine",)
    """Of `actstore.metrics.lens.fitted.fit.KINDS`; each is stored under that name."""
    sample: str = "sample"
    """The token sample whose texts they are fitted to and judged by."""
    eval_share: float = 0.2
    """Of the sample's texts: those that nothing is fitted to."""
    seed: int = 0
    """Chooses them, and the order of the tuned lens' tokens."""
    tuning: TuningSettings = field(default_factory=TuningSettings)
    tuned_tokens: int = 25_000
    """The tuned lens is fitted to so many tokens at most, of whole texts; it holds their states in
    memory three times: 12 · hidden bytes a token and worker."""
    workers: int = 1
    """Processes on this machine; one computes in this process, without a scheduler."""
    dask: str | None = None
    """Compute on Dask workers: `local` (`workers` processes), `slurm`, or a scheduler's address."""
    worker_jobs: WorkerJobs | None = None
    """What the jobs of `slurm` ask for."""
    overwrite: bool = False
    """Fit again what the store already has for the same settings, states and head."""
    share: Share | None = None
    """Only this part: neighbouring checkpoints, the same that metrics of the same share are of."""


@dataclass(frozen=True)
class LensFit:
    """One lens of one checkpoint."""

    checkpoint: str
    name: str
    kept: bool
    """Whether the store had it already."""
    fitted: Mapping[str, Any]
    """Its attributes: docs/store-format.md."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Those that it translates: all that are stored but the last."""
        return tuple(self.fitted["layers"])

    @property
    def kl_without(self) -> tuple[float, ...]:
        """By layer: mean KL(final || layer) in bits over the evaluation texts, logit lens."""
        return tuple(self.fitted["kl_without_bits"])

    @property
    def kl_with(self) -> tuple[float, ...]:
        """The same through this lens."""
        return tuple(self.fitted["kl_bits"])


@dataclass(frozen=True)
class LensFitReport:
    """What `fit_lens` did."""

    model: str
    fits: tuple[LensFit, ...]
    """By checkpoint, in training order."""
    seconds: float

    def summary(self) -> str:
        """For people."""
        kept = sum(fit.kept for fit in self.fits)
        new = len(self.fits) - kept
        there = f", {kept:,} already there" if kept else ""
        return f"{new:,} {'lens' if new == 1 else 'lenses'} fitted in {self.seconds:.1f} s{there}."
