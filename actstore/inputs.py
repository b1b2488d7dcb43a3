"""What commands are given, made into what functions take: names, stores with texts in them, rows.

Imports happen where they are needed: `actstore --help` reads neither zarr nor torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from actstore.errors import InvalidInputError, NotAStoreError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from actstore.dask_pool.places import WorkerJobs
    from actstore.evaluate import CollectionReport
    from actstore.extract import TokenSampleRequest
    from actstore.store import Store


def names(listed: str) -> tuple[str, ...]:
    """Comma-separated names."""
    return tuple(name.strip() for name in listed.split(",") if name.strip())


def transforms_of(listed: str) -> tuple[str, ...]:
    """Comma-separated transforms; `none` leaves states as they are stored."""
    return tuple("" if name == "none" else name for name in names(listed)) or ("",)


def worker_jobs_of(dask: str | None, cluster: str | None, stage: str) -> WorkerJobs | None:
    """What worker jobs of `--dask slurm` ask for on a cluster; None for any other --dask.

    stage: whose resources the profile gives them. Raises InvalidInputError for a --dask there is
    not and without a --cluster, UnknownNameError for a profile there is not.
    """
    from actstore.dask_pool.places import SLURM, check_dask

    if dask is None or check_dask(dask) != SLURM:
        if cluster is not None:
            raise InvalidInputError("--cluster says where --dask slurm starts jobs: give both.")
        return None
    from actstore.slurm.dask import worker_jobs
    from actstore.slurm.profile import profile_names

    if cluster is None:
        raise InvalidInputError(
            "--dask slurm starts jobs on a cluster: say which by --cluster PROFILE. There are: "
            f"{', '.join(profile_names())}."
        )
    return worker_jobs(cluster, stage)


def renamings(pairs: list[str]) -> dict[str, str]:
    """Their names -> ours, of `THEIRS=OURS`. Raises InvalidInputError."""
    for pair in pairs:
        if not all(pair.partition("=")):
            raise InvalidInputError(
                f"{pair!r} is no renaming. Write: --rename-checkpoint THEIRS=OURS"
            )
    return dict(pair.split("=", 1) for pair in pairs)


def store_for(path: str, suite: str | None) -> Store:
    """A store, opened or made: made only when the suite that goes into it is known to exist."""
    from actstore.store import create_store, open_store

    try:
        return open_store(path)
    except NotAStoreError:
        if suite is not None:
            from actstore.evaluate import resolve_suite

            resolve_suite(suite)
        return create_store(path)


def texts_of(file: Path, column: str) -> list[str]:
    """The texts of a file. Raises InvalidInputError for one that cannot be read."""
    from actstore.extract import read_texts

    return read_texts(file, column=column)


def add_texts(store: Store, texts: list[str]) -> NDArray[np.int64]:
    """The rows of texts; processes that start together add them once, one after the other."""
    from actstore.store.sharing.leases import ADDING_TEXTS, alone

    with alone(store.storage, ADDING_TEXTS):
        return store.add_texts(texts)


def texts_to_extract(
    path: str, suite: str | None, texts: Path | None, column: str
) -> tuple[Store, NDArray[np.int64] | None]:
    """The store with the texts of a file or suite in it, and their rows; None for all it holds."""
    from actstore.store import open_store

    if texts is not None:
        found = texts_of(texts, column)
        store = store_for(path, None)
        return store, add_texts(store, found)
    if suite is not None:
        store = store_for(path, suite)
        if not _has_suite(store, suite):  # else mteb is not even loaded
            suite = collect_suite(store, suite).suite
        return store, store.rows_of_suite(suite)
    return open_store(path), None


def rows_of_suite(store: Store, suite: str) -> NDArray[np.int64]:
    """The rows of a collected suite, however it is called: a suite file, an alias, some tasks."""
    if not _has_suite(store, suite):
        from actstore.evaluate import resolve_suite

        suite = resolve_suite(suite, store).name
    return store.rows_of_suite(suite)


def token_sample(
    store: Store,
    tokens: str | None,
    rows: NDArray[np.int64] | None,
    suite: str | None,
    seed: int,
    name: str = "sample",
    *,
    say: Callable[[str], None],
) -> TokenSampleRequest | None:
    """The texts of which every token is stored, if any were asked for. say: is told of too few."""
    if tokens is None:
        return None
    from actstore.extract import choose_token_sample

    return choose_token_sample(store, tokens, rows, suite=suite, seed=seed, name=name, say=say)


def collect_suite(store: Store, suite: str) -> CollectionReport:
    """Collect a suite; processes that start together do it once, one after the other."""
    from actstore.evaluate import collect
    from actstore.store.sharing.leases import ADDING_TEXTS, alone

    with alone(store.storage, ADDING_TEXTS):
        return collect(store, suite)


def _has_suite(store: Store, suite: str) -> bool:
    return suite in store.suites() or set(names(suite)) <= set(store.tasks())
