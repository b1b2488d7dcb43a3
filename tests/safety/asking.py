"""What commands ask of a store that somebody else made."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from actstore.errors import ActstoreError
from actstore.store import Store, describe_store
from actstore.store.sharing.leases import live_leases
from actstore.store.status.stage_status import overview
from actstore.store.verify import verify_store
from tests.faults.reading import questions
from tests.metrics.small_store import MODEL
from tests.store.moving.full_store import CHECKPOINTS

Question = Callable[[Store], Any]


_COSTLY = ("status", "quick look", "verify")
_TURNS = 6


def ask(store: Store, about: tuple[str, ...]) -> None:
    """Ask all that has one of these words in it. Every answer, or an error of ours, will do.

    What looks at the whole store is asked for now and then, always of the same bytes.
    """
    turn = zlib.crc32(b"".join(store.storage.altered.values())) % _TURNS  # type: ignore[attr-defined]
    left_out = {one for place, one in enumerate(_COSTLY) if place != turn}
    for word, question in everything():
        if word not in left_out and any(one in word for one in about):
            try:
                with suppress(ActstoreError):
                    question(store)
            except Exception as error:
                error.add_note(f"while asking for {word}")
                raise


def everything() -> Iterator[tuple[str, Question]]:
    """All questions, in words."""
    for word, find in questions():
        if "last" not in word and "rows 64" not in word and "rows 128" not in word:
            yield word, find
    yield "info", describe_store
    yield "status", overview
    yield "leases", lambda s: live_leases(s.storage)
    yield "verify", lambda s: verify_store(s, threads=1)
    yield "quick look", lambda s: verify_store(s, threads=1, quick=True)
    yield "suite scores", lambda s: (s.suite_scores("both"), s.score_array("both"))
    yield "failures", lambda s: s.evaluation_failures()
    yield "metric dataset", lambda s: s.metrics()
    yield "environments", lambda s: s.score_environments()
    yield "rows of suites", lambda s: s.rows_of_suite("both")
    for name in CHECKPOINTS:
        yield f"logits of {name}", lambda s, n=name: _logits(s, n)


def _logits(store: Store, name: str) -> Any:
    group = store.checkpoint(MODEL, name)
    head, width = group.head(), group.spec.hidden_size
    with np.errstate(all="ignore"):
        return head.logits(np.ones((2, width), np.float32))
