"""How metrics and scores go together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from actstore.errors import InvalidInputError
from actstore.refs import by_training_step
from actstore.report.correlation.coefficients import Method
from actstore.report.correlation.scopes import Chance, Scope, in_scope
from actstore.report.multiple_tests import Correction, adjusted
from actstore.report.tables.slices import largest_box
from actstore.report.tables.state_scores import STATE, StateScores, by_state

_OF = [*STATE, "metric", "source", "over", "target"]
_KEY = [*_OF, "scope", "at", "method"]
_NUMBERS = ["n", "n_checkpoints", "n_layers", "left_out", "value", "expected", "low", "high", "p"]
_NEEDED = ["model", "checkpoint", "layer", "metric", "source", "value"]


@dataclass(frozen=True)
class CorrelationRequest:
    """Which correlations, and how they are held against chance."""

    methods: tuple[Method, ...] = tuple(Method)
    scopes: tuple[Scope, ...] = tuple(Scope)
    surrogates: int = 999
    """Fields of red noise; p is 1 / (1 + surrogates) at least."""
    seed: int = 0
    """Draws them; what is drawn for a metric does not depend on the others."""
    correction: Correction = Correction.BH
    """For all metrics, targets and places of a scope and method."""


@dataclass(frozen=True)
class _Grid:
    """The checkpoints and layers of scores and metrics."""

    checkpoints: list[str]
    layers: list[int]

    def array(self, values: pd.Series[float]) -> NDArray[np.float64]:
        """(checkpoint, layer) of values by these; NaN where there is none."""
        table = values.unstack("layer").reindex(index=self.checkpoints, columns=self.layers)
        array = table.to_numpy(np.float64)
        return np.where(np.isfinite(array), array, np.nan)


@dataclass(frozen=True)
class _Block:
    """A metric and the scores that are of the same arms, without gaps."""

    checkpoints: list[str]
    layers: list[int]
    left_out: int
    """Arms that have both numbers and are not among these."""
    metric: NDArray[np.float64]
    """(checkpoint, layer)."""
    targets: list[tuple[str, str]]
    scores: NDArray[np.float64]
    """(target, checkpoint, layer)."""


def correlate(
    metrics: pd.DataFrame, scores: pd.DataFrame, request: CorrelationRequest | None = None
) -> pd.DataFrame:
    """Correlations of each metric and source with each target of each pooling and transform.

    metrics: rows of `Store.metric_table()`: model, checkpoint, layer, metric, source, value.
    scores: as for `by_state`; targets are the mean over all tasks, over those of each type, and
    each task, where all of these are scored.
    Each is over the largest set of checkpoints and layers that has both numbers without a gap.
    Columns: model, pooling, transform, metric, source, over, target, scope (see `Scope`), at (the
    checkpoint or layer; empty for all arms and for the mean over checkpoints or layers), method, n
    (arms), n_checkpoints, n_layers, left_out (arms that have both numbers and are not in the set),
    value, expected (its mean by chance, above 0 for `dcor`), low, high (95 %, Fisher's z with the
    standard error of chance; NaN for `dcor`), p (two-sided, against red noise), p_adjusted.
    Numbers are NaN for fewer than five arms in a series and where one of both is constant.
    Raises InvalidInputError for other columns, for two values of the same, or where
    scores and metrics are of no common arm.
    """
    request = request or CorrelationRequest()
    _check(metrics)
    rows = [row for one in by_state(scores) for row in _of_state(one, metrics, request)]
    if not rows:
        raise InvalidInputError(
            "No checkpoint and layer has both a metric and the scores of a task. Compute metrics "
            "of what was scored: actstore metrics STORE"
        )
    table = pd.DataFrame(rows, columns=[*_KEY, *_NUMBERS])
    single = (table["at"] != "").rename("single")
    families = table.groupby([*STATE, "scope", "method", single])["p"]
    correct = request.correction
    table["p_adjusted"] = families.transform(lambda p: adjusted(p.to_numpy(), correct))
    return table


def to_xarray(table: pd.DataFrame) -> xr.Dataset:
    """What `correlate` returns, with the columns that name a correlation as dimensions.

    `over` goes with the targets. Dimensions: model, pooling, transform, metric, source, target,
    scope, at, method; NaN where there is no such correlation.
    """
    dims = [name for name in _KEY if name != "over"]
    names = table[["over", "target"]].drop_duplicates()
    if names["target"].duplicated().any():  # a task named like its type
        table = table.assign(target=table["over"] + ": " + table["target"])
        names = table[["over", "target"]].drop_duplicates()
    dataset: xr.Dataset = table.drop(columns="over").set_index(dims).to_xarray()
    over = names.set_index("target")["over"].reindex(dataset["target"].values)
    return dataset.assign_coords(over=("target", over.to_numpy(str)))


def _check(metrics: pd.DataFrame) -> None:
    missing = [name for name in _NEEDED if name not in metrics]
    if missing:
        raise InvalidInputError(
            f"A table of metrics needs the columns {', '.join(_NEEDED)}; this one has no "
            f"{', '.join(missing)}. Take what Store.metric_table() returns."
        )
    twice = metrics[metrics.duplicated([name for name in _NEEDED if name != "value"])]
    if len(twice):
        one = twice.iloc[0]
        raise InvalidInputError(
            f"{one['metric']} from {one['source']} has two values at {one['checkpoint']}, layer "
            f"{one['layer']}. Take one of each, as Store.metric_table() returns."
        )


def _of_state(
    one: StateScores, metrics: pd.DataFrame, request: CorrelationRequest
) -> Iterator[tuple[object, ...]]:
    own = metrics[metrics["model"] == one.model]
    both = {*one.checkpoints} | {str(name) for name in own["checkpoint"]}
    layers = {*one.layers} | {int(layer) for layer in own["layer"]}
    grid = _Grid(by_training_step(both), sorted(layers))
    scores = {(over, name): grid.array(values) for over, name, values in one.mean_columns()}
    for (metric, source), part in own.groupby(["metric", "source"]):
        values = grid.array(part.set_index(["checkpoint", "layer"])["value"].astype(float))
        seed = crc32(f"{metric}\n{source}".encode())
        for block in _blocks(grid, values, scores):
            for found in _of_block(block, request, seed):
                yield one.model, one.pooling, one.transform, metric, source, *found


def _blocks(
    grid: _Grid, metric: NDArray[np.float64], scores: dict[tuple[str, str], NDArray[np.float64]]
) -> Iterator[_Block]:
    """Targets that are there at the same arms go together."""
    alike: dict[bytes, list[tuple[str, str]]] = {}
    for target, values in scores.items():
        alike.setdefault(np.isfinite(metric + values).tobytes(), []).append(target)
    for targets in alike.values():
        present = np.isfinite(metric + scores[targets[0]])
        box = largest_box(present)
        if box[0]:
            yield _Block(
                [grid.checkpoints[i] for i in box[0]],
                [grid.layers[i] for i in box[1]],
                int(present.sum()) - len(box[0]) * len(box[1]),
                metric[np.ix_(*box)],
                targets,
                np.stack([scores[target][np.ix_(*box)] for target in targets]),
            )


def _of_block(
    block: _Block, request: CorrelationRequest, seed: int
) -> Iterator[tuple[object, ...]]:
    chance = Chance(request.surrogates, (request.seed, seed))
    shape = len(block.checkpoints), len(block.layers)
    for scope in request.scopes:
        places: dict[Scope, list[str]] = {
            Scope.LAYERS: block.checkpoints,
            Scope.CHECKPOINTS: [str(layer) for layer in block.layers],
        }
        for method in request.methods:
            for found in in_scope(scope, method, block.metric, block.scores, chance):
                at = "" if found.at is None else places[scope][found.at]
                size = shape if found.at is None else _line(scope, shape)
                numbers = (found.value, found.expected, found.low, found.high, found.p)
                named = *block.targets[found.score], scope.value, at, method.value
                yield *named, found.n, *size, block.left_out, *numbers


def _line(scope: Scope, shape: tuple[int, int]) -> tuple[int, int]:
    """How many checkpoints and layers one line of a scope has."""
    return (1, shape[1]) if scope is Scope.LAYERS else (shape[0], 1)
