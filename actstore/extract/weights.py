"""Weights files read ahead: while one checkpoint runs, the next one's are fetched and hashed."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from actstore.extract.sources import Source, digest_of_files, weight_files


class WeightsAhead:
    """Digests of checkpoints' weights, made in a thread.

    Hashing reads every byte, so that loading the model then finds the files in memory; of a hub
    model it downloads them first.
    """

    def __init__(self, *, pickled: bool) -> None:
        self._pickled = pickled
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="weights")
        self._made: dict[Source, Future[str]] = {}

    def ahead(self, source: Source) -> None:
        """Have a checkpoint's weights read, unless they already are or soon will be."""
        if source not in self._made:
            self._made[source] = self._pool.submit(self._digest, source)

    def digest(self, source: Source) -> str:
        """What identifies a checkpoint's weights. Raises InvalidInputError without them."""
        self.ahead(source)
        return self._made[source].result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _digest(self, source: Source) -> str:
        return digest_of_files(weight_files(source, pickled=self._pickled))
