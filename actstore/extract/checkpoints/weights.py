"""Weights files read ahead: while one checkpoint runs, the next one's are fetched and hashed."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from actstore.extract.checkpoints.fingerprint import weights_digest, weights_identity
from actstore.extract.checkpoints.sources import Source
from actstore.store import CheckpointSpec, Json


@dataclass(frozen=True)
class Weights:
    """What identifies a checkpoint's weights."""

    digest: str
    identity: list[Json]
    """Equal identities have equal digests, and cost no reading: see `weights_identity`."""


class WeightsAhead:
    """Identifies checkpoints' weights in a thread.

    Hashing reads every byte, so that loading the model then finds the files in memory; of a hub
    model it downloads them first. Weights that are still the commit or the files a stored
    checkpoint was made from are not read again: of a commit they need not even be there.
    """

    def __init__(self, *, pickled: bool) -> None:
        self._pickled = pickled
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="weights")
        self._found: dict[Source, Future[Weights]] = {}

    def ahead(self, source: Source, stored: CheckpointSpec | None) -> None:
        """Have a checkpoint's weights read, unless they already are or soon will be.

        stored: how the store describes the checkpoint, if it was begun.
        """
        if source not in self._found:
            self._found[source] = self._pool.submit(self._find, source, stored)

    def of(self, source: Source, stored: CheckpointSpec | None) -> Weights:
        """The identity of a checkpoint's weights. Raises InvalidInputError without them."""
        self.ahead(source, stored)
        return self._found[source].result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _find(self, source: Source, stored: CheckpointSpec | None) -> Weights:
        if stored is not None and _same_commit(source, stored):
            return Weights(stored.weights_digest, identity=[])
        identity = weights_identity(source, pickled=self._pickled)
        if stored is not None and stored.provenance.get("weights_files") == identity:
            return Weights(stored.weights_digest, identity)
        return Weights(weights_digest(source, pickled=self._pickled), identity)


def _same_commit(source: Source, stored: CheckpointSpec) -> bool:
    """Whether a stored checkpoint was made of these files: a commit on the hub never changes."""
    asked = {"commit": source.revision}
    if source.base is not None:
        asked["base_commit"] = source.base.revision
    return None not in asked.values() and asked.items() <= stored.provenance.items()
