"""JSON that anybody may have written: bounded before it is parsed, its fields checked before use.

A store may come from a stranger. What is wrong in a document is therefore never found by what it
breaks further on: every field is asked for through here, and one that is missing or of another
kind raises CorruptShardError, which names the object and the field.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from actstore.errors import CorruptShardError
from actstore.store.storage import Storage

Is = Callable[[object], bool]
"""Whether a value is what a field takes."""
Fields = Mapping[str, Is]
"""What a document must have. Others are let through."""

NO_FIELDS: Fields = {}
MOST_DEPTH = 64
"""Lists and objects inside one another; ours have 12 at most."""
MOST_BYTES = 64 << 20
"""Of a document; ours have a few KB, the manifest of a task up to 1 MB."""
MOST_NAME = 1024
"""Characters."""
_BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[^\[\]{}"]+', re.DOTALL)
"""What is no bracket: text, and all between."""
_SHOWN = 60
_SMALL = 1 << 53
"""Whole numbers up to this are the same in every reader of JSON."""


def damaged(storage: Storage, key: str, what: object) -> CorruptShardError:
    """The error for an object that is not what was written there."""
    return CorruptShardError(
        f"{key} of {storage.url} is damaged: {what}. Run: actstore verify {storage.url}"
    )


def parse_json(storage: Storage, key: str, data: bytes) -> dict[str, Any]:
    """An object's JSON, which is an object. Raises CorruptShardError for anything else."""
    if len(data) > MOST_BYTES:
        raise damaged(storage, key, f"{len(data):,} bytes are more than a document has")
    try:
        document = parse(data)
    except ValueError as error:
        raise damaged(storage, key, f"it is no JSON ({error})") from error
    if not isinstance(document, dict):
        raise damaged(storage, key, "it is no JSON object")
    return document


def parse(data: bytes) -> Any:
    """Some JSON. Raises ValueError for what is none, and for what is nested too deep."""
    if not is_shallow(data):
        raise ValueError(f"more than {MOST_DEPTH} lists and objects are inside one another")
    return json.loads(data)


def is_shallow(data: bytes) -> bool:
    """Whether no more than MOST_DEPTH lists and objects are inside one another.

    Deep nesting would exhaust the stack of whoever parses, compares or writes it.
    """
    if data.count(b"[") + data.count(b"{") <= MOST_DEPTH:
        return True
    depth = deepest = 0
    for bracket in _BRACKET.sub(b"", data):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest <= MOST_DEPTH


def require_fields(storage: Storage, key: str, values: object, fields: Fields) -> dict[str, Any]:
    """The values, which must have all of these fields. Raises CorruptShardError."""
    if what := wrong_field(values, fields):
        raise damaged(storage, key, what)
    return values  # type: ignore[return-value]


def wrong_field(values: object, fields: Fields) -> str:
    """What is wrong with the first field that is not what it takes; empty for nothing."""
    if not isinstance(values, dict):
        return f"{_shown(values)} is no JSON object"
    for name, is_right in fields.items():
        if name not in values:
            return f"it has no field {name!r}"
        if not is_right(values[name]):
            return f"its field {name!r} cannot be {_shown(values[name])}"
    return ""


def is_text(value: object) -> bool:
    return isinstance(value, str)


def is_word(value: object) -> bool:
    """Text that is a name: not empty, not endless, and what can be written in UTF-8."""
    if not isinstance(value, str) or not 0 < len(value) <= MOST_NAME or "\0" in value:
        return False
    return not any("\ud800" <= one <= "\udfff" for one in value)


def is_file_name(value: object) -> bool:
    """A name of one object or folder: it leads nowhere else."""
    return is_word(value) and "/" not in str(value) and value not in (".", "..")


def is_key(value: object) -> bool:
    """Names, one below the other."""
    return is_word(value) and all(map(is_file_name, str(value).split("/")))


def is_flag(value: object) -> bool:
    return isinstance(value, bool)


def is_whole(value: object) -> bool:
    """A whole number of a size that numpy and other readers take."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _SMALL


def is_number(value: object) -> bool:
    """Any number; also NaN and infinity, which metrics can have."""
    return isinstance(value, float) or is_whole(value)


def is_finite(value: object) -> bool:
    return is_number(value) and math.isfinite(value)  # type: ignore[arg-type]


def whole_from(least: int, most: int = _SMALL) -> Is:
    """A whole number between two, both included."""
    return lambda value: is_whole(value) and least <= value <= most  # type: ignore[operator]


def one_of(*choices: object) -> Is:
    """One of some texts, or None."""
    return lambda value: any(type(value) is type(one) and value == one for one in choices)


def or_none(is_right: Is) -> Is:
    return lambda value: value is None or is_right(value)


def list_of(is_right: Is, *, least: int = 0) -> Is:
    """A list of at least so many values of a kind."""
    return lambda value: (
        isinstance(value, list) and len(value) >= least and all(map(is_right, value))
    )


def table_of(is_right: Is, *, names: Is = is_text) -> Is:
    """An object all of whose fields are of a kind."""
    return lambda value: (
        isinstance(value, dict) and all(names(k) and is_right(v) for k, v in value.items())
    )


def having(fields: Fields) -> Is:
    """An object with some fields."""
    return lambda value: not wrong_field(value, fields)


def is_pair(value: object) -> bool:
    """Two texts."""
    return isinstance(value, list) and len(value) == 2 and all(map(is_text, value))


def is_table(value: object) -> bool:
    return isinstance(value, dict)


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number of too many digits
        text = type(value).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
