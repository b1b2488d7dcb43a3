"""Choosing the texts of a token-level sample.

A text's turn comes by a hash of its content and the seed. So a choice depends neither on how many
workers there are nor on the order in which tasks were collected; one task's texts are chosen the
same whatever other tasks there are, and a larger sample holds the smaller one.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actstore.errors import InvalidInputError
from actstore.extract.request import Rows, TokenSampleRequest
from actstore.extract.texts import read_texts
from actstore.store import Store
from actstore.store.texts.table import TextTable


def choose_token_sample(
    store: Store,
    selection: str,
    rows: Rows | None = None,
    *,
    suite: str | None = None,
    seed: int = 0,
    name: str = "sample",
    column: str = "text",
    say: Callable[[str], None] = warnings.warn,
) -> TokenSampleRequest | None:
    """The texts that a selection names, as a sample called `name`; None for 0 texts.

    selection: `all` of `rows` (None: all of the store's), `200` of them, `20/task`: of each task
    of `suite` (a collected suite, or comma-separated tasks; None: all collected tasks), or a file
    of texts (.txt, .jsonl, .csv, .parquet; `column` as for `read_texts`), which are added to the
    store. say: is told where there are fewer texts than asked for, and all of them are taken.
    Raises InvalidInputError for a selection that cannot be read or a file that is not there,
    UnknownNameError for a suite or task that was not collected, UnknownTextError for rows that
    hold no text.
    """
    if count := re.fullmatch(r"(\d+)(/task)?", selection.strip()):
        n, sampler = int(count[1]), _Sampler(store, rows, seed, say)
        chosen = sampler.of_each_task(n, suite) if count[2] else sampler.of_all(n)
    elif selection.strip() == "all":
        chosen = _Sampler(store, rows, seed, say).rows
    elif (file := Path(selection)).suffix or file.is_file():
        chosen = np.unique(store.add_texts(read_texts(file, column)))
    else:
        raise InvalidInputError(
            f"Cannot read the token sample {selection!r}. Write --tokens all, --tokens 200 (of the "
            "texts), --tokens 20/task, or --tokens texts.jsonl (a file: .txt, .jsonl, .csv, "
            ".parquet)."
        )
    return TokenSampleRequest(name, chosen) if len(chosen) else None


class _Sampler:
    """Draws from some rows of a store."""

    def __init__(
        self, store: Store, rows: Rows | None, seed: int, say: Callable[[str], None]
    ) -> None:
        self._store, self._seed, self._say = store, seed, say
        self._texts = TextTable(store.storage)
        everything = self._texts.rows()
        self.rows = everything if rows is None else np.unique(np.asarray(rows, np.int64))
        self._texts.require(self.rows)

    def of_all(self, n: int) -> NDArray[np.int64]:
        """n of the rows, ascending."""
        if n > len(self.rows):
            self._say(f"The token sample takes all {len(self.rows):,} texts: {n:,} were asked for.")
        return self._first(self.rows, n)

    def of_each_task(self, n: int, suite: str | None) -> NDArray[np.int64]:
        """n of the rows of each task, ascending, each once."""
        tasks = {name: self._rows_of(name) for name in self._tasks(suite)}
        if few := [f"{name} ({len(rows):,})" for name, rows in tasks.items() if len(rows) < n]:
            self._say(
                f"The token sample takes all texts of {', '.join(few)}: {n:,} of each task were "
                "asked for."
            )
        return np.unique(np.concatenate([self._first(rows, n) for rows in tasks.values()]))

    def _tasks(self, suite: str | None) -> list[str]:
        if suite is None:
            names = self._store.tasks()
        elif suite in self._store.suites():
            names = [task["name"] for task in self._store.suite(suite)["tasks"]]
        else:
            names = [name.strip() for name in suite.split(",")]
        if not names:
            raise InvalidInputError(
                f"{self._store.url} holds no tasks to sample texts of. Run: actstore collect "
                f"{self._store.url} --suite SUITE, or choose of all texts: --tokens 200."
            )
        return names

    def _rows_of(self, task: str) -> NDArray[np.int64]:
        """A task's rows among those to draw from."""
        return np.intersect1d(self._store.task(task).rows(), self.rows, assume_unique=True)

    def _first(self, rows: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        """Those n of some rows whose turn comes first, ascending."""
        seed = _mixed(np.array([self._seed % 2**64], np.uint64))
        turn = _mixed(self._texts.hashes_of(rows)["high"] ^ seed)
        return np.sort(rows[np.argsort(turn, kind="stable")[:n]])


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of 64 bits that leaves no trace of their order.

    Source: Steele, Lea & Flood 2014, https://doi.org/10.1145/2660193.2660195 (SplitMix64).
    """
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
