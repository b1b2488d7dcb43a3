"""One thing to look at, and what was found in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actstore.errors import ActstoreError
from actstore.store.records.damage import Damage
from actstore.store.records.ledger import Commit

if TYPE_CHECKING:
    from actstore.store.checkpoint import CheckpointGroup

UNREADABLE = (ActstoreError, FileNotFoundError, ValueError, LookupError, TypeError, EOFError)
"""What reading raises for bytes that nobody wrote as they are: our errors and those of parsers."""

_REMEDY = re.compile(r" (Run: actstore verify|Remove it with actstore verify|Fit the lens again: )")
"""Where a message goes on to say what to do."""

FOLDERS = "folders"
"""The array of a finding about documents that `--repair` writes anew by itself."""

Chunks = tuple[tuple[int, int], ...]
"""The layer index and number of each."""
ALL_CHUNKS = -1
"""Stands for the number of every chunk of a layer."""


@dataclass(frozen=True)
class Found:
    """A damaged or missing object, before it is known whom that concerns."""

    damage: Damage
    array: str
    """See `Problem.array`."""
    model: str = ""
    checkpoint: str = ""
    group: CheckpointGroup | None = None
    """The checkpoint whose extraction makes it again, unless `command` says how."""
    commit: Commit | None = None
    """Of a shard."""
    chunks: Chunks = ()
    """Those of a shard that are damaged."""
    command: str = ""
    """Makes it again."""


@dataclass(frozen=True)
class Check:
    """One object, or a few that belong together, to be looked at."""

    look: Callable[[], Iterable[Found]]
    unreadable: Callable[[str], Found]
    """What is found where looking ends with an error, of the reason."""
    n_bytes: int = 0
    """That are read, where they are many."""
    unit: str = ""
    """What a worker holds a lease of while it writes the object; empty: none does."""

    def run(self) -> list[Found]:
        """Everything that is wrong."""
        return list(self._run())

    def _run(self) -> Iterator[Found]:
        try:
            yield from self.look()
        except UNREADABLE as error:
            yield self.unreadable(reason(error))


def reason(error: BaseException) -> str:
    """An error's message, less what a report says anyway: the key, and to run verify."""
    if isinstance(error, FileNotFoundError):
        return "it is missing"
    if not isinstance(error, ActstoreError):
        return f"it cannot be read: {error or type(error).__name__}"
    text = str(error).partition(" is damaged: ")[2] or str(error)
    return _REMEDY.split(text)[0].rstrip(".")
