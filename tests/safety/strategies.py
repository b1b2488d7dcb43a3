"""What somebody who means harm may write: any JSON, and documents of ours a bit altered."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

NASTY = st.sampled_from(
    [
        *(None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**30, 1e308, -0.0),
        *(float("nan"), float("inf"), float("-inf"), 0.5, "", " ", ".", "..", "../..", "a/../../b"),
        *("/etc/passwd", "\0", "a\0b", "\x1b[2J", "\ud800", "x" * 5000, "%2F", "; rm -rf ~"),
        *("NaN", "1", "O", "object", "float64", "V8", "zarr.json", "[red]", "mean_pool"),
        *([], {}, [[]], [None], [0, -1], {"": None}, {"kind": "linear"}, [[1, 2], [3]]),
    ]
)
JSON = st.recursive(
    NASTY,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to every value in a document, itself too."""
    found = [path]
    if isinstance(value, dict):
        for name, inner in value.items():
            found += places(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value[:20]):
            found += places(inner, (*path, number))
    return found


@st.composite
def altered(draw: st.DrawFn, document: Any) -> Any:
    """A document, one to three values of which were replaced, removed or repeated."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        changed = _changed(draw, changed)
    return changed


def _changed(draw: st.DrawFn, document: Any) -> Any:
    path = draw(st.sampled_from(places(document)))
    if not path:
        return copy.deepcopy(draw(JSON)) if draw(st.integers(0, 9)) == 0 else document
    above = document
    for name in path[:-1]:
        above = above[name]
    name, kind = path[-1], draw(st.sampled_from(["replace", "replace", "remove", "repeat"]))
    if kind == "replace":
        above[name] = copy.deepcopy(draw(JSON))
    elif kind == "remove":
        del above[name]
    elif isinstance(above, list):
        above.insert(name, copy.deepcopy(above[name]))
    else:
        above[draw(st.text(max_size=8))] = copy.deepcopy(above[name])
    return document


@st.composite
def flipped(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes of which some were altered, removed or repeated."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        if not changed:
            break
        place = draw(st.integers(0, len(changed) - 1))
        kind = draw(st.sampled_from(["set", "set", "cut", "insert", "truncate"]))
        if kind == "set":
            changed[place] = draw(st.integers(0, 255))
        elif kind == "cut":
            del changed[place : place + draw(st.integers(1, 64))]
        elif kind == "insert":
            changed[place:place] = draw(st.binary(min_size=1, max_size=16))
        else:
            del changed[place:]
    return bytes(changed)
