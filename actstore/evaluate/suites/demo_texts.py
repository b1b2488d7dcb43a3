"""Labelled texts for the demo's tasks, cut from the standard library's docstrings and comments.

The labels come from where a text stands: the package it is part of, and whether it describes a
module, a class or a function or comments on code. A package's name never occurs in its texts.
"""

from __future__ import annotations

import functools
import hashlib
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from actstore.stdlib_text import StdlibText, comments, docstrings

KINDS = ("class", "comment", "function", "module")

_N_PACKAGES = 10
_PER_PACKAGE = 70
_FEWEST_WORDS = 10
_LONGEST = 300
"""Characters; longer texts are cut at a word."""

_NOT_PROSE = re.compile(r">>>|^\s*[+|]-|::\s*$", re.MULTILINE)
"""Marks paragraphs of interactive examples, tables, and introductions to code."""


@dataclass(frozen=True)
class Passage:
    """A text of prose, and where it stands."""

    text: str
    package: str
    kind: str
    """One of KINDS."""


@functools.cache
def topics() -> Mapping[str, tuple[Passage, ...]]:
    """Seventy docstrings of each of the ten packages that have most of them."""
    found = _by_package(docstring for docstring in docstrings() if docstring.kind != "module")
    largest = sorted(found, key=lambda package: (-len(found[package]), package))[:_N_PACKAGES]
    return {package: tuple(found[package][:_PER_PACKAGE]) for package in sorted(largest)}


@functools.cache
def remarks(per_package: int) -> tuple[Passage, ...]:
    """So many blocks of comments from each package of `topics`, or what there is."""
    found = _by_package(comments())
    return tuple(
        passage for package in topics() for passage in found.get(package, [])[:per_package]
    )


@functools.cache
def kinds(per_kind: int) -> tuple[Passage, ...]:
    """So many passages of each of the KINDS, in turn."""
    passages = _passages((*docstrings(), *comments()))
    of_kind = [[passage for passage in passages if passage.kind == kind] for kind in KINDS]
    return tuple(passage for group in zip(*of_kind, strict=False) for passage in group)[
        : per_kind * len(KINDS)
    ]


@functools.cache
def package_pairs() -> tuple[tuple[Passage, Passage], ...]:
    """Each docstring of `topics` with one of its own package, or in every other pair another's."""
    chance = random.Random(0)
    every = [passage for passages in topics().values() for passage in passages]
    pairs = []
    for index, first in enumerate(every):
        same = index % 2 == 0
        others = [p for p in every if (p.package == first.package) == same and p != first]
        pairs.append((first, chance.choice(others)))
    return tuple(pairs)


def _by_package(texts: Iterable[StdlibText]) -> dict[str, list[Passage]]:
    found: dict[str, list[Passage]] = {}
    for passage in _passages(texts):
        if passage.package.strip("_").lower() not in passage.text.lower():
            found.setdefault(passage.package, []).append(passage)
    return found


def _passages(texts: Iterable[StdlibText]) -> list[Passage]:
    """The texts with prose enough, in an order that is fixed but blind to where they stand."""
    first: dict[str, Passage] = {}
    for text in texts:
        prose = _prose(text.text)
        if len(re.findall("[A-Za-z]+", prose)) >= _FEWEST_WORDS:
            first.setdefault(prose, Passage(prose, text.package, text.kind))
    return sorted(first.values(), key=lambda p: hashlib.blake2b(p.text.encode()).digest())


def _prose(text: str) -> str:
    """The text's paragraphs of prose in one line, cut to the longest length."""
    paragraphs = (part for part in text.split("\n\n") if not _NOT_PROSE.search(part))
    line = " ".join(" ".join(paragraphs).split())
    return line if len(line) <= _LONGEST else line[:_LONGEST].rpartition(" ")[0]
