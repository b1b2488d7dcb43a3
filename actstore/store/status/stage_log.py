"""What runs of experiments logged of each stage: who is at it, and how it ended."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from actstore.store.records.documents import Fields, damaged, is_text, wrong_field
from actstore.store.records.runs import run_events
from actstore.store.sharing.processes import host_name
from actstore.store.storage import Storage

_EVENT = "stage"
_SHARE = re.compile(r"[0-9]{1,6}/[1-9][0-9]{0,5}")


def _is_share(value: object) -> bool:
    return value in (None, "") or (isinstance(value, str) and bool(_SHARE.fullmatch(value)))


_FIELDS: Fields = {"stage": is_text, "state": is_text, "share": _is_share}
_QUIET = 3600.0
"""Seconds after which a process of another machine that says nothing counts as gone."""


@dataclass(frozen=True)
class StageLog:
    """What was logged of a stage."""

    state: str
    """`running`, `paused` (stopped, or gone without a word), `failed`, `done` (all its shares)."""
    at: float
    """The last event: seconds since 1970."""
    error: str | None
    """Kind and message of the last failure that nothing has mended since."""


def stage_log(
    storage: Storage, experiment: str | None, last_at: Mapping[str, float | None]
) -> dict[str, StageLog]:
    """What was logged of each stage that was ever begun.

    experiment: the name of the one whose runs count; None: all. last_at: when a stage's work last
    got further, which is a sign of life too.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    runs = set[str]()
    for event in run_events(storage):
        if event["event"] == "started":
            settings = event.get("settings")
            name = settings.get("name") if isinstance(settings, dict) else None
            runs |= {event["run"]} if experiment in (None, name) else set()
        elif event["event"] == _EVENT and event["run"] in runs:
            if what := wrong_field(event, _FIELDS):
                raise damaged(storage, "runs", what)
            found.setdefault(event["stage"], []).append(event)
    return {
        stage: _log(events, max(events[-1]["at"], last_at.get(stage) or 0.0))
        for stage, events in found.items()
    }


def _log(events: list[dict[str, Any]], sign_of_life: float) -> StageLog:
    """events: of one stage, oldest first."""
    of_run = {event["run"]: event for event in events}
    open_ = [event for event in of_run.values() if event["state"] == "began"]
    state, failed = "paused", None
    if any(_alive(event, sign_of_life) for event in open_):
        state = "running"
    else:
        ended = _of_each_share(events)
        failed = next((event for event in ended if event["state"] == "failed"), None)
        if failed is not None:
            state = "failed"
        elif ended and all(event["state"] == "finished" for event in ended):
            state = "done"
    error = None if failed is None else f"{failed.get('error')}: {failed.get('message')}"
    return StageLog(state, events[-1]["at"], error)


def _of_each_share(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last event of every share, as the stage was last divided; none unless all were begun."""
    last: dict[str, dict[str, Any]] = {}
    for event in events:
        index, _, count = (event["share"] or "0/1").partition("/")
        if last and next(iter(last)).partition("/")[2] != count:
            last.clear()
        last[f"{index}/{count}"] = event
    n_shares = int(next(iter(last)).partition("/")[2])
    failed = [event for event in last.values() if event["state"] == "failed"]
    return list(last.values()) if len(last) == n_shares else failed


def _alive(event: Mapping[str, Any], sign_of_life: float) -> bool:
    """Whether a process may still be at it: looked up here, believed of another machine a while."""
    if event["host"] != host_name():
        return time.time() - sign_of_life < _QUIET
    try:
        os.kill(event["pid"], 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
