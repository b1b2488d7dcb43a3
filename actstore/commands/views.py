"""The command that makes views of texts.

It reads options, calls one function and prints what it returns.
"""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from actstore.inputs import rows_of_suite
from actstore.options import SUITE_HELP, StoreArgument

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from actstore.store import Store
    from actstore.store.texts.views import ViewSet


def views(
    store: StoreArgument,
    task: Annotated[str | None, typer.Option(help="Only of this collected task's texts.")] = None,
    suite: Annotated[str | None, typer.Option(help=f"Only of its texts. {SUITE_HELP}")] = None,
    texts_sample: Annotated[
        int, typer.Option(min=2, help="How many texts, drawn by --seed; all if there are fewer.")
    ] = 1000,
    n_views: Annotated[int, typer.Option("--views", min=2, help="Views of each text.")] = 16,
    seed: Annotated[int, typer.Option(help="Chooses the texts and what changes in them.")] = 0,
    name: Annotated[str, typer.Option(help="What the store calls these views.")] = "default",
) -> None:
    """Add views of texts: the same texts mistyped, which InfoNCE, DiME, LiDAR and others compare.

    They are texts like others, and are extracted with them.
    """
    from actstore.metrics.views.make import ViewsRequest, make_views, stored_views
    from actstore.present.terminal import lines
    from actstore.store import open_store

    if task is not None and suite is not None:
        raise typer.BadParameter("give --task or --suite, not both")
    opened = open_store(store)
    texts = f"{texts_sample} of {task or suite or 'all texts'}"
    request = ViewsRequest(name, n_views, seed, texts)
    found = stored_views(opened, request)
    if found is None:
        rows = _sampled(opened, _rows(opened, task, suite), texts_sample, seed)
        found = make_views(opened, request, rows)
    lines(*_summary(opened, found))


def _rows(store: Store, task: str | None, suite: str | None) -> NDArray[np.int64]:
    """The texts that a sample is drawn from."""
    if task is not None:
        return store.task(task).rows()
    return store.source_rows() if suite is None else rows_of_suite(store, suite)


def _sampled(store: Store, rows: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """Ascending; the same choice by content that --tokens makes."""
    import numpy as np

    from actstore.errors import InvalidInputError
    from actstore.extract import choose_token_sample

    sample = choose_token_sample(store, str(n), rows, seed=seed, say=lambda _: None)
    if sample is None:
        raise InvalidInputError(
            f"{store.url} holds no texts to make views of. Run: actstore collect {store.url} "
            "--suite SUITE (or --texts FILE)"
        )
    return np.asarray(sample.rows, np.int64)


def _summary(store: Store, found: ViewSet) -> list[str]:
    """What there is now, and what to type next."""
    return [
        f"{store.url} has {found.n_views} views of {len(found.source_rows):,} texts as "
        f"{found.name!r}: {len(found.new_rows):,} texts came with them.",
        *(f"Extract them: {command}" for command in _extractions(store)),
        f"Then measure: actstore metrics {store.url} --metric infonce,dime,lidar,alignment",
    ]


def _extractions(store: Store) -> list[str]:
    """The commands that extract every text of the store at the checkpoints it has."""
    commands = []
    for model in store.models():
        groups = [store.checkpoint(model, name) for name in store.checkpoints(model)]
        poolings = sorted({pooling for group in groups for pooling in group.poolings()})
        commands.append(
            f"actstore extract {store.url} --model {quote(model)} "
            f"--checkpoints {quote(','.join(group.checkpoint for group in groups))} "
            f"--pooling {','.join(poolings)}"
        )
    return commands or [f"actstore extract {store.url} --model MODEL --checkpoints CHECKPOINTS"]
