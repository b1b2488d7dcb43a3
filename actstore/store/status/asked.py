"""What an experiment asks of a store, as far as that is known before it has run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

COMBINING = ("mean", "concat")
"""Transforms that begin with one of these make one representation of all layers."""


@dataclass(frozen=True)
class AskedModel:
    """What an experiment asks of a model."""

    layers: str
    """That are extracted: a selection, as `--layers` takes it."""
    scored_layers: str
    """That are scored, likewise."""
    checkpoints: tuple[str, ...] | None
    """None where the model has to be asked for them."""
    n_checkpoints: int | None
    """None where the model has to be asked for them."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What an experiment asks for."""

    name: str
    """By which run logs name it."""
    stages: tuple[str, ...]
    """In order."""
    models: Mapping[str, AskedModel]
    """By the name that stores give a model."""
    tasks: tuple[str, ...] | None
    """None where the suite was not collected yet; empty for texts without tasks."""
    poolings: tuple[str, ...] = ("mean_normed",)
    """That are scored."""
    transforms: tuple[str, ...] = ("",)
    """That are scored; empty for states as they are stored."""
    report: Path | None = None
    """The page to write."""

    def n_scores(self, n_layers: int) -> int:
        """Scores of one task at one checkpoint, of which so many layers are scored."""
        each = sum(1 if one.startswith(COMBINING) else n_layers for one in self.transforms)
        return each * len(self.poolings)
