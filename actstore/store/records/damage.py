"""What a check found wrong with one object of a store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Damage:
    """One object that is not what was written."""

    key: str
    what: str
    """What is wrong with it, as the end of a sentence that begins with the key."""
    remade: bool
    """Whether a command makes it again once it is gone; if not, only a copy restores it."""
