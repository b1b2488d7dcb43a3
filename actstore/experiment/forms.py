"""How single values of an experiment file may be written, and what cannot be read.

The functions take and give what stands in the file, and raise ValueError for what cannot be used:
pydantic gathers all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.refs import parse_layers
from actstore.selection import select_checkpoints

_MOST_BLOCKS = 10_000
"""More than any model has: what is checked before a model is known is how layers are written."""
_COMMA = re.compile(r",(?![^\[]*\])")
"""One that separates, not one in brackets: STS17[en-en,en-de]."""
_TOKEN_TEXTS = re.compile(r"[1-9]\d*(/task)?|all")
_DEVICES = re.compile(r"auto|all|cpu(:[1-9]\d*)?|[a-z]+(:\d+)?(,([a-z]+:)?\d+)*")
_STEPS = ("mean|concat", "center|whiten", r"dims[1-9]\d*", "l2")


def listed(value: object) -> object:
    """A list as it is; text as the list of what its commas separate."""
    if isinstance(value, str):
        return tuple(part.strip() for part in _COMMA.split(value) if part.strip())
    return tuple(value) if isinstance(value, list) else value


def items(value: object) -> object:
    """A list as it is."""
    return tuple(value) if isinstance(value, list) else value


def section(value: object) -> object:
    """A section; one with nothing in it is as if left out."""
    return {} if value is None else value


def written_layers(value: object) -> object:
    """Layers as text: of a number, of a list of numbers and text, or as they are."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, (list, tuple)) and all(isinstance(one, (int, str)) for one in value):
        return ",".join(str(one) for one in value)
    return value


def layers(value: str) -> str:
    """Layers that can be read: all | 0,3,6 | 15-23 | -4:."""
    with _as_value_error():
        parse_layers(value, _MOST_BLOCKS)
    return value


def checkpoints(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Checkpoints that can be read; whether a model has them is seen later."""
    for part in parts or ("",):
        with _as_value_error():
            try:
                select_checkpoints(part, _not_known)
            except _NotKnownYetError:
                continue
    return parts


def token_texts(value: object) -> object:
    """Which texts a token sample has: 200, 20/task, all, or a file."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and not _TOKEN_TEXTS.fullmatch(value) and "." not in value:
        raise ValueError(
            f"cannot read {value!r}. Write 200 (of all texts), 20/task, all, or a file of texts "
            "(.txt, .jsonl, .csv, .parquet)"
        )
    return value


def devices(value: str) -> str:
    """Devices that can be read; whether the machine has them is seen later."""
    if not _DEVICES.fullmatch(value):
        raise ValueError(
            f"cannot read {value!r}. Write auto, all, cuda:0,1 (a worker each), cpu, or cpu:4 "
            "(four workers)"
        )
    return value


def transforms(names: tuple[str, ...]) -> tuple[str, ...]:
    """Transforms that can be read."""
    for name in names:
        places = [_place(step) for step in name.split("+")]
        if name != "none" and (-1 in places or places != sorted(set(places))):
            raise ValueError(
                f"cannot read {name!r}. Write none, or steps in this order, each at most once: "
                "mean|concat (of all layers), center|whiten, dims256, l2; for instance center+l2"
            )
    return names


def _place(step: str) -> int:
    """Of a step in their order; -1 of none."""
    return next((n for n, form in enumerate(_STEPS) if re.fullmatch(form, step)), -1)


def references(names: tuple[str, ...]) -> tuple[str, ...]:
    """What layers are compared with, where the metrics are installed to say."""
    with _as_value_error():
        try:
            from actstore.metrics.running.references import Reference
        except ModuleNotFoundError:  # a node that only extracts; the metrics stage looks again
            return names
        for name in names:
            Reference.named(name)
    return names


def metrics(names: tuple[str, ...]) -> tuple[str, ...]:
    """Metrics there are, where they are installed to say."""
    with _as_value_error():
        try:
            from actstore.metrics.registry import resolve_metrics
        except ModuleNotFoundError:
            return names
        resolve_metrics(names)
    return names


def fitted_lenses(names: tuple[str, ...]) -> tuple[str, ...]:
    """Kinds of fitted lenses there are, where the metrics are installed to say."""
    with _as_value_error():
        try:
            from actstore.metrics.lens.fitted.fit import resolve_kinds
        except ModuleNotFoundError:
            return names
        resolve_kinds(names)
    return names


class _NotKnownYetError(Exception):
    """A selection can be read, and needs the model's checkpoints to go on."""


def _not_known() -> Sequence[str]:
    raise _NotKnownYetError


@contextmanager
def _as_value_error() -> Iterator[None]:
    try:
        yield
    except (InvalidInputError, UnknownNameError) as error:
        raise ValueError(str(error)) from error
