"""What is exported."""

from __future__ import annotations

from dataclasses import dataclass

WHAT = ("scores", "leaves", "metrics", "texts", "states", "tokens")
"""What a store can export: see docs/export.md."""


@dataclass(frozen=True)
class ExportRequest:
    """What is exported of a store. What a kind of numbers does not have is not looked at."""

    what: str
    """One of WHAT."""
    model: str | None = None
    """None: of states and tokens the only one, of others all."""
    checkpoints: tuple[str, ...] = ()
    """Names, globs, ranges, `last:50`, presets; empty: all."""
    layers: str = "all"
    """As on the command line: `all`, `0,3,6`, `15-23`, `-4:`."""
    pooling: str | None = None
    """None: of states `mean`, of others all."""
    suite: str | None = None
    """A collected suite, or tasks separated by commas: of scores and leaves their tasks, of texts
    and states their rows. None: all."""
    sample: str = "sample"
    """Which token sample, of tokens."""
    overwrite: bool = False
    """Whether a file that is there is replaced."""
