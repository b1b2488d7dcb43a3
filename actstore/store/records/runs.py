"""The log of every run, kept in the store: what was asked, in which environment, what happened.

JSON lines, one file for each process (`runs/<writer>.jsonl`). Nothing is decided by it: what is
done stands in the ledgers, who is at work in the leases.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
    write_group,
)
from actstore.store.records.documents import Fields, is_text, whole_from
from actstore.store.records.environment import environment
from actstore.store.records.journal import Json, append_records, read_records
from actstore.store.sharing.processes import MOST_PID, host_name
from actstore.store.storage import Storage, join

_FOLDER = "runs"
_FIELDS: Fields = {
    "run": is_text,
    "event": is_text,
    "host": is_text,
    "pid": whole_from(1, MOST_PID),
}


@dataclass(frozen=True)
class RunError:
    """An error that ended a run."""

    at: float
    """Seconds since 1970."""
    error: str
    """Its kind and message."""
    host: str
    model: str | None
    checkpoint: str | None
    """What was being worked on; None where that is not one checkpoint."""


class RunLog:
    """The log of one process of a run. Raises OSError, when it is made, if it cannot be written."""

    def __init__(
        self, storage: Storage, *, command: Sequence[str], settings: Mapping[str, Json]
    ) -> None:
        """Log the event `started`. settings: what was asked for; it must hold no secrets."""
        self.storage = storage
        self.run = uuid.uuid4().hex[:12]
        if not storage.exists(join(_FOLDER, DOCUMENT)):
            write_group(storage, _FOLDER, {})
        started: dict[str, Json] = {
            "command": list(command),
            "settings": dict(settings),
            "environment": environment(),
        }
        self._write("started", started)

    def event(self, event: str, **fields: Json) -> None:
        """Log `checkpoint`, `progress`, `error`, `stopped`, `finished`, with what there is to say.

        `error` has the fields error (its kind), message and, where it concerns one, model and
        checkpoint. A log that cannot be written, on a full disk for instance, ends no run.
        """
        with suppress(OSError):
            self._write(event, fields)

    def _write(self, event: str, fields: Mapping[str, Json]) -> None:
        worker: dict[str, Json] = {"host": host_name(), "pid": os.getpid()}
        append_records(
            self.storage, _FOLDER, [{"run": self.run, "event": event, **worker, **fields}]
        )


def run_events(storage: Storage) -> list[dict[str, Any]]:
    """All events of all runs, oldest first: at (seconds since 1970), run, event, host, pid, …"""
    return read_records(storage, _FOLDER, _FIELDS)


def run_errors(storage: Storage) -> list[RunError]:
    """The errors that ended runs, oldest first."""
    return [
        RunError(
            at=event["at"],
            error=": ".join(str(event[key]) for key in ("error", "message") if event.get(key)),
            host=event["host"],
            model=_text(event.get("model")),
            checkpoint=_text(event.get("checkpoint")),
        )
        for event in run_events(storage)
        if event["event"] == "error"
    ]


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def is_extraction(settings: Mapping[str, Json]) -> bool:
    """Whether settings are those of an extraction: other runs in the log name models too."""
    return "compute_dtype" in settings
