"""Shares: the parts of one piece of work that the tasks of a SLURM array do, each once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from actstore.errors import InvalidInputError

_Thing = TypeVar("_Thing")


@dataclass(frozen=True)
class Share:
    """One of several equal parts of something; together they are all of it."""

    index: int
    """Which one, from 0."""
    of: int
    """How many there are."""

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.of:
            raise InvalidInputError(
                f"There is no share {self.index}/{self.of}: shares are numbered from 0, so that "
                "0/4, 1/4, 2/4 and 3/4 are all four. Write: --share I/N"
            )

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Share:
        """The share that `0/4` names. Raises InvalidInputError."""
        match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
        if match is None:
            raise InvalidInputError(
                f"Cannot read the share {text!r}. Write I/N, I from 0: --share 0/4 is the first of "
                "four."
            )
        return cls(int(match[1]), int(match[2]))

    def part(self, things: Sequence[_Thing], shift: int = 0) -> Sequence[_Thing]:
        """This share of some things: neighbours, at most one more than another share has.

        shift: which shares get the one more, or of fewer things than shares the only one; where
        several sequences are shared out, their places spread it.
        """
        shift %= self.of
        start, end = ((n * len(things) + shift) // self.of for n in (self.index, self.index + 1))
        return things[start:end]

    def turned(self, by: int) -> Share:
        """The share so many places on: of several things that are shared out one after the other,
        so that not all the smallest parts are the same process's."""
        return Share((self.index + by) % self.of, self.of)
