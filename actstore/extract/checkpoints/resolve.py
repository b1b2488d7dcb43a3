"""Which checkpoints of a model are meant, all of them found before anything runs."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from actstore.errors import ActstoreError, UnknownNameError
from actstore.extract.checkpoints.hub import hub_revisions, may_be_unlisted
from actstore.extract.checkpoints.sources import find_source, hub_config, known_checkpoints
from actstore.refs import look_up
from actstore.selection import select_checkpoints


def resolve_checkpoints(model: str, selection: str | Sequence[str]) -> tuple[str, ...]:
    """The checkpoints of a model that a selection names, in training order: all of them exist.

    selection: as `select_checkpoints` reads it. Raises UnknownNameError naming every checkpoint
    that is not there, and InvalidInputError for a selection that cannot be read.
    """
    known = cache(lambda: known_checkpoints(model))
    names = select_checkpoints(selection, known)
    if len(names) == 1 or not known():
        find_source(model, names[0])  # says what there is instead
    missing = _missing(model, names, known()) if len(names) > 1 else []
    if len(missing) == 1:
        look_up(f"checkpoint of {model}", missing[0], known(), f"The other {len(names) - 1} exist.")
    if missing:
        raise UnknownNameError(_message(model, missing, known(), len(names)))
    return names


def _missing(model: str, names: Sequence[str], known: Sequence[str]) -> list[str]:
    """The names that do not exist. What the hub does not list may: a commit, or where it is out of
    reach and gives no list, anything."""
    absent = [name for name in names if name not in known]
    if not absent or Path(model).expanduser().is_dir():
        return absent
    listed = bool(hub_revisions(model))
    to_try = [name for name in absent if may_be_unlisted(name) or not listed]
    return [name for name in absent if name not in to_try or not _can_be_read(model, name)]


def _can_be_read(model: str, checkpoint: str) -> bool:
    try:
        hub_config(model, checkpoint)
    except ActstoreError:
        return False
    return True


def _message(model: str, missing: Sequence[str], known: Sequence[str], asked: int) -> str:
    near = {name: difflib.get_close_matches(name, known, n=1, cutoff=0.5) for name in missing}
    hints = [f"{found[0]!r} to {name!r}" for name, found in near.items() if found][:5]
    nearest = f"Nearest: {', '.join(hints)}. " if hints else ""
    return (
        f"{model} lacks {len(missing)} of the {asked} checkpoints: {', '.join(missing)}. "
        f"{nearest}"
        f"It has {len(known)}: {', '.join(known[:8])}{', …' if len(known) > 8 else ''}."
    )
