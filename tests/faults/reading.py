"""Everything that the public readers say of a store, question by question."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from actstore.store import Store
from tests.metrics.small_store import MODEL
from tests.store.moving.full_store import CHECKPOINTS, TASKS

Question = tuple[str, Callable[[Store], Any]]
_AXES = ("row", "position", "token_id", "is_special", "n_bytes")


def questions() -> Iterator[Question]:
    """What is asked, in words, and how. An answer is bytes, or a table: a list of lines."""
    yield "text rows", lambda s: _bytes(s.text_rows())
    yield "texts", lambda s: repr(s.read_texts(s.text_rows()))
    yield "text table", lambda s: repr(s.texts().to_dict("list"))
    yield "rows of texts", lambda s: _bytes(s.rows_of(["text number 0", "text number 229"]))
    yield "models", lambda s: repr(s.models())
    yield "lengths", lambda s: repr({k: _bytes(v) for k, v in s.text_lengths(MODEL).items()})
    yield "vocabulary", lambda s: repr(s.vocabulary(MODEL).to_dict("list"))
    for checkpoint in CHECKPOINTS:
        yield from _of_checkpoint(checkpoint)
    yield from _of_dataset()
    yield "tasks", lambda s: s.tasks()
    yield "suites", lambda s: s.suites()
    yield "views", lambda s: s.views()
    for task in TASKS:
        yield f"rows of {task}", lambda s, t=task: _bytes(s.task(t).rows())
        yield f"data of {task}", lambda s, t=task: repr(s.task(t).table("test").to_pydict())
        yield (
            f"manifest of {task}",
            lambda s, t=task: repr(s.task(t).told("digest", lambda one: True)),
        )
    for suite in ("both", "one/near"):
        yield f"suite {suite}", lambda s, n=suite: repr(s.suite(n))
    yield "view set", lambda s: _bytes(s.view_set("small").rows)
    yield "sources of views", lambda s: _bytes(s.view_set("small").source_rows)
    yield "scores", lambda s: _lines(s.scores())
    yield "leaves", lambda s: _cells(s.score_leaves("Near"))
    yield "metrics", lambda s: _lines(s.metric_table())
    yield "metric values", lambda s: _bytes(s.metric_values(MODEL, "curvature").values)
    yield "experiments", lambda s: [one.yaml for one in s.experiments()]


def _of_checkpoint(name: str) -> Iterator[Question]:
    for pooling in ("mean", "last"):
        for layer in range(4):
            for rows in _parts():
                yield (
                    f"{pooling} of layer {layer} of {name}, rows {rows[0]} to {rows[-1]}",
                    lambda s, p=pooling, i=layer, r=rows: _bytes(
                        s.embeddings(MODEL, checkpoint=name, layer=i, pooling=p, rows=r)
                    ),
                )

    def group(store: Store) -> Any:
        return store.checkpoint(MODEL, name)

    def sample(store: Store) -> Any:
        return group(store).token_sample("sample")

    yield f"layers of {name}", lambda s: repr(group(s).layers)
    for layer in range(4):
        read = lambda s, i=layer: _bytes(group(s).read_values("curvature", i, np.arange(230)))  # noqa: E731
        yield f"curvature of layer {layer} of {name}", read
        states = lambda s, i=layer: _bytes(sample(s).states(i, 0, 64))  # noqa: E731
        yield f"tokens of layer {layer} of {name}", states
    for axis in _AXES:
        yield f"{axis} of tokens of {name}", lambda s, a=axis: _bytes(getattr(sample(s), a))
    yield f"spans of {name}", lambda s: repr(sample(s).spans.to_dict("list"))
    dataset = lambda s: repr([_bytes(a.values) for a in sample(s).dataset().values()])  # noqa: E731
    yield f"dataset of tokens of {name}", dataset
    head = lambda s: repr({k: _bytes(v) for k, v in sorted(group(s).head().arrays.items())})  # noqa: E731
    yield f"head of {name}", head
    yield f"program of {name}", lambda s: repr((group(s).head().ops, group(s).head().to_json()))
    yield f"lens of {name}", lambda s: _bytes(group(s).lens("affine").weight)
    yield f"bias of {name}", lambda s: _bytes(group(s).lens("affine").bias)


def _of_dataset() -> Iterator[Question]:
    for name in ("mean_pool", "last_pool", "curvature"):
        for checkpoint in CHECKPOINTS:
            yield (
                f"{name} of {checkpoint} as a dataset",
                lambda s, n=name, c=checkpoint: _bytes(
                    s.dataset(MODEL)[n].sel(checkpoint=c).values
                ),
            )
    for name in ("row", "n_tokens", "truncated", "layer", "step"):
        yield f"{name} of the dataset", lambda s, n=name: _bytes(s.dataset(MODEL)[n].values)


def _parts() -> list[np.ndarray]:
    """Rows of one shard each."""
    return [np.arange(start, min(start + 64, 230)) for start in range(0, 230, 64)]


def _bytes(values: Any) -> tuple[str, bytes]:
    array = np.asarray(values)
    return array.dtype.str, array.tobytes()


def _lines(table: Any) -> list[str]:
    return [repr(line) for line in table.to_dict("records")]


def _cells(table: Any) -> list[str]:
    """Every value that there is, with what it is of."""
    return [
        f"{line['checkpoint']} {line['layer']} {name}: {value!r}"
        for line in table.to_dict("records")
        for name, value in line.items()
        if value == value  # not NaN, which stands for none
    ]
