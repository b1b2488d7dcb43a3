"""The texts of an experiment: brought into the store by its first stage, found there by others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from actstore.errors import MissingShardsError, UnknownTextError
from actstore.experiment.schema import Experiment, ViewsSection
from actstore.inputs import add_texts, collect_suite, names, texts_of, token_sample
from actstore.present.terminal import lines, warn
from actstore.refs import look_up

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from actstore.extract import TokenSampleRequest
    from actstore.metrics.views.make import ViewsRequest
    from actstore.store import Store


def collect_material(store: Store, experiment: Experiment) -> None:
    """Bring an experiment's texts, tasks, token sample and views into the store, and say so.

    What is there already is left as it is. Raises what `collect` and `make_views` raise.
    """
    if experiment.texts is not None:
        file = Path(experiment.texts.file)
        rows = add_texts(store, texts_of(file, experiment.texts.column))
        lines(f"{len(rows):,} texts of {file} are in {store.url}.")
    elif experiment.suite_or_tasks is not None:
        report = collect_suite(store, experiment.suite_or_tasks)
        lines(
            f"{report.suite}: {len(report.collected)} tasks collected, {len(report.skipped)} were "
            f"there; {report.new_texts:,} new texts in {store.url}."
        )
    sample_of(store, experiment)  # a file's texts come in here; too few are told of now
    if experiment.views is not None:
        _make_views(store, experiment, experiment.views)


def rows_to_extract(store: Store, experiment: Experiment) -> NDArray[np.int64]:
    """The rows of an experiment's texts and views. Loads no mteb where its suite was collected.

    Raises MissingShardsError that names the stage `collect` if they are not in the store.
    """
    import numpy as np

    rows = _rows(store, experiment)
    if experiment.views is None:
        return rows
    if experiment.views.name not in store.views():
        raise _not_collected(f"{store.url} has no views called {experiment.views.name!r}.")
    return np.union1d(rows, store.view_set(experiment.views.name).rows)


def sample_of(store: Store, experiment: Experiment) -> TokenSampleRequest | None:
    """The texts of which every token's states are stored, if any are asked for."""
    tokens = experiment.tokens
    if tokens is None:
        return None
    suite = None if experiment.texts is not None else _collected_suite(store, experiment)
    rows = _rows(store, experiment)
    return token_sample(store, tokens.texts, rows, suite, tokens.seed, tokens.name, say=warn)


def _rows(store: Store, experiment: Experiment) -> NDArray[np.int64]:
    """The rows of an experiment's texts, without views."""
    import numpy as np

    if experiment.texts is None:
        return store.rows_of_suite(_collected_suite(store, experiment))
    try:
        return np.unique(
            store.rows_of(texts_of(Path(experiment.texts.file), experiment.texts.column))
        )
    except UnknownTextError as error:
        raise _not_collected(f"{store.url} lacks texts of {experiment.texts.file}.") from error


def _collected_suite(store: Store, experiment: Experiment) -> str:
    """What the store calls the experiment's suite, which a file or an alias may name otherwise."""
    asked = experiment.suite_or_tasks or ""
    if _is_collected(store, asked):
        return asked
    from actstore.evaluate import resolve_suite

    found = resolve_suite(asked, store)
    if _is_collected(store, found.name):
        return found.name
    raise _not_collected(f"The suite {found.name!r} is not in {store.url}.")


def _is_collected(store: Store, suite: str) -> bool:
    return suite in store.suites() or set(names(suite)) <= set(store.tasks())


def _not_collected(problem: str) -> MissingShardsError:
    return MissingShardsError(f"{problem} Run the stage collect first: --stages collect")


def _make_views(store: Store, experiment: Experiment, views: ViewsSection) -> None:
    from actstore.metrics.views.make import make_views, stored_views

    request = _views_request(experiment, views)
    found = stored_views(store, request)
    if found is None:
        found = make_views(store, request, _rows_viewed(store, experiment, views))
    lines(
        f"{store.url} has {found.n_views} views of {len(found.source_rows):,} texts as "
        f"{found.name!r}."
    )


def _views_request(experiment: Experiment, views: ViewsSection) -> ViewsRequest:
    """As `actstore views` asks for them, so that either finds what the other made."""
    from actstore.metrics.views.make import ViewsRequest

    texts = experiment.texts.file if experiment.texts is not None else experiment.suite_or_tasks
    return ViewsRequest(
        views.name, views.views, views.seed, f"{views.texts} of {views.task or texts}"
    )


def _rows_viewed(store: Store, experiment: Experiment, views: ViewsSection) -> NDArray[np.int64]:
    """Those that views are made of: drawn by content, as a token sample is."""
    import numpy as np

    from actstore.extract import choose_token_sample

    if views.task is not None:
        look_up("task to make views of", views.task, store.tasks(), "It stands in views.task.")
    rows = _rows(store, experiment) if views.task is None else store.task(views.task).rows()
    sample = choose_token_sample(store, str(views.texts), rows, seed=views.seed, say=warn)
    assert sample is not None  # views.texts is 2 or more, and collected texts are not none
    return np.asarray(sample.rows, np.int64)
