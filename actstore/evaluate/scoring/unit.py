"""What is scored at once, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass

from mteb.results import TaskResult

from actstore.evaluate.scoring.transform import Representation
from actstore.evaluate.suites.selection import TaskSelection


@dataclass(frozen=True)
class Unit:
    """One task at one checkpoint and representation."""

    task: TaskSelection
    task_type: str
    model: str
    checkpoint: str
    representation: Representation
    inputs: str
    """Digest of everything the score depends on."""
    fit: str = ""
    """Digest of the texts that centring or whitening is fitted on."""

    @property
    def key(self) -> tuple[str, str, int, str, str, str]:
        """Model, checkpoint, layer, pooling, transform, task: what a score is found by."""
        one = self.representation
        return self.model, self.checkpoint, one.layer, one.pooling, one.label, self.task.name

    def __str__(self) -> str:
        one = self.representation
        label = f", {one.label}" if one.label else ""
        place = f"{self.checkpoint}, layer {one.layer}, pooling {one.pooling}{label}"
        return f"{self.task.name} at {place}"


@dataclass(frozen=True)
class UnitOutcome:
    """A result of mteb's, or why there is none."""

    unit: Unit
    result: TaskResult | None
    error: str = ""
    trace: str = ""
