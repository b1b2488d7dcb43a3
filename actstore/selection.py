"""Which checkpoints a selection names: `--checkpoints` of every command."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from functools import cache

from actstore.errors import InvalidInputError
from actstore.refs import by_training_step, look_up, training_step

_POWERS_OF_TWO = [2**i for i in range(10)]
PRESETS: dict[str, tuple[str, ...]] = {
    "pythia-all": (
        *(f"step{step}" for step in (0, *_POWERS_OF_TWO, *range(1000, 144_000, 1000))),
        "main",
    ),
    "pythia-log": tuple(
        f"step{step}" for step in (0, *_POWERS_OF_TWO, *(1000 * 2**i for i in range(8)), 143_000)
    ),
}
"""Checkpoints of the Pythia suite: Biderman et al. 2023, https://arxiv.org/abs/2304.01373, 2.1."""

_RANGE = re.compile(r"(?P<prefix>\D.*?|)(?P<low>\d+):(?:(?P=prefix))(?P<high>\d+)(?::(?P<by>\d+))?")
_LAST = re.compile(r"last:(\d+)")
_WRITE = (
    "Write for instance: main | step1000,main | step1*000 | step1000:step143000:1000 | last:50 | "
    f"{' | '.join(PRESETS)}."
)

Known = Callable[[], Sequence[str]]


def select_checkpoints(
    selection: str | Sequence[str], known: Known, *, stored: bool = False
) -> tuple[str, ...]:
    """The checkpoints a selection names, in training order and without repeats.

    selection: comma-separated, or a sequence of such parts. A part is a name; a glob (`step1*000`);
    a range `step1000:step143000:1000`, both ends included, or without the last number all known
    ones between; `last:50`, the 50 latest known by training step; or a preset: `pythia-all` (154
    steps and main), `pythia-log` (0, 1, 2, 4, …, 512, 1000, 2000, 4000, …, 128000, 143000).
    known: gives the checkpoints there are; called only for a part that cannot be read without.
    stored: of ranges with a step and presets, only what is known: a store seldom holds them all.
    Names, and without `stored` ranges with a step and presets, are not looked up: they may turn
    out to be missing. Raises UnknownNameError with the nearest names for a part that selects
    nothing, InvalidInputError for one that cannot be read.
    """
    parts = selection.split(",") if isinstance(selection, str) else selection
    known = cache(known)
    cleaned = [part.strip() for part in parts if part.strip()]
    if not cleaned:
        raise InvalidInputError(f"Name at least one checkpoint. {_WRITE}")
    chosen = {name for part in cleaned for name in _of_part(part, known, stored)}
    return tuple(by_training_step(chosen))


def _of_part(part: str, known: Known, stored: bool) -> Sequence[str]:
    if part in PRESETS:
        return _kept(part, PRESETS[part], known) if stored else PRESETS[part]
    if part.startswith("last:"):
        return _last(part, known)
    if ":" in part:
        return _between(part, known, stored)
    if any(sign in part for sign in "*?["):
        return _some(part, fnmatch.filter(known(), part), known)
    return [part]


def _last(part: str, known: Known) -> Sequence[str]:
    if not (match := _LAST.fullmatch(part)) or not (n := int(match[1])):
        raise InvalidInputError(f"Cannot read the checkpoints {part!r}. {_WRITE}")
    steps = [name for name in by_training_step(known()) if training_step(name) is not None]
    if len(steps) < n:
        raise InvalidInputError(
            f"{part} asks for {n} checkpoints and {len(steps)} with a training step are known"
            f"{f', the latest: {steps[-1]}' if steps else ''}. Ask for fewer, or name them."
        )
    return steps[-n:]


def _between(part: str, known: Known, stored: bool) -> Sequence[str]:
    match = _RANGE.fullmatch(part)
    if match is None:
        raise InvalidInputError(f"Cannot read the range of checkpoints {part!r}. {_WRITE}")
    prefix, low, high = match["prefix"], int(match["low"]), int(match["high"])
    by = int(match["by"]) if match["by"] else None
    if by == 0 or low > high:
        raise InvalidInputError(
            f"The range of checkpoints {part!r} is empty: write FIRST:LAST or FIRST:LAST:BY, the "
            f"earlier one first. {_WRITE}"
        )
    if by and not stored:
        return [f"{prefix}{step}" for step in range(low, high + 1, by)]
    steps = range(low, high + 1, by or 1)
    return _some(part, [n for n in known() if _number_after(prefix, n) in steps], known)


def _number_after(prefix: str, name: str) -> int | None:
    """The number that follows the prefix in a name; what follows the number is free."""
    match = re.match(re.escape(prefix) + r"(\d+)", name)
    return int(match[1]) if match else None


def _kept(part: str, names: Sequence[str], known: Known) -> Sequence[str]:
    there = set(known())
    return _some(part, [name for name in names if name in there], known)


def _some(part: str, names: Sequence[str], known: Known) -> Sequence[str]:
    """The names, if there are any."""
    if not names:
        plain = re.sub(r"[*?\[\]]", "", part)
        there = known()
        if plain in there:  # a name with brackets, say
            return [plain]
        look_up("checkpoint that fits", part, there, "")
    return names
