"""Several reads at once, where the storage answers slowly and takes many questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from actstore.store.storage.base import Storage

T = TypeVar("T")
R = TypeVar("R")


def each(
    storage: Storage, work: Callable[[T], R], items: Iterable[T], threads: int | None = None
) -> list[R]:
    """What `work` gives for every item, in their order.

    threads: None: as many as are worth it for the storage. The first error is raised, when what was
    begun has ended.
    """
    todo = list(items)
    wanted = min(threads or storage.threads, len(todo))
    if wanted <= 1:
        return [work(one) for one in todo]
    with ThreadPoolExecutor(wanted) as pool:
        return list(pool.map(work, todo))
