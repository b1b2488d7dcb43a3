"""Where an epoch was left, and who goes on with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actstore.errors import InvalidInputError
from actstore.store.records.plan import require_same


@dataclass(frozen=True)
class Place:
    """How many batches of an epoch were given."""

    epoch: int
    taken: int
    """Of the rank if `alone`, else of one worker."""
    worker: int
    """Which of the epoch's workers: whose range is read."""
    workers: int
    alone: bool
    """Whether it speaks of all workers of the rank, which take turns."""


def as_state(place: Place, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A place as plain values, with what the order depends on."""
    numbers = {"epoch": place.epoch, "taken": place.taken, "workers": place.workers}
    return {**numbers, "worker": None if place.alone else place.worker, "settings": {**settings}}


def read_state(state: Mapping[str, Any], settings: Mapping[str, Any]) -> Place:
    """The place of a state. Raises PlanMismatchError unless it is of an order of these settings."""
    remedy = "Resume with the same settings, or begin an epoch anew."
    require_same("The state of the data set", state["settings"], settings, remedy)
    worker = state["worker"]
    numbers = state["epoch"], state["taken"], worker or 0, state["workers"]
    return Place(*numbers, alone=worker is None)


def place_of(state: Place | None, epoch: int, worker: int, workers: int) -> Place:
    """Where a worker begins: behind the state, if that is of this epoch.

    Workers take turns from the first one on, so the one whose turn is next in the epoch must be
    first. Raises InvalidInputError for another number of workers than the state is of.
    """
    if state is None or state.epoch != epoch:
        return Place(epoch, 0, worker, workers, alone=False)
    if state.workers != workers:
        raise InvalidInputError(
            f"The state is of {state.workers} workers, {workers} are to go on: every worker has a "
            f"range of its own. Use DataLoader(…, num_workers={state.workers})."
        )
    if not state.alone:
        return Place(epoch, state.taken, state.worker, workers, alone=False)
    turn = (worker + state.taken) % workers
    return Place(epoch, -((turn - state.taken) // workers), turn, workers, alone=False)
