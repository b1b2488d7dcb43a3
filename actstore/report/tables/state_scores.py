"""Scores as the tables take them: of one model, pooling and transform, every gap a NaN.

A mean over tasks is never one over fewer tasks than its neighbours': either it is NaN where a task
is missing (`Gaps.NAN`), or all means are of one slice of checkpoints, layers and tasks without gaps
(`Gaps.SLICE`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import pandas as pd

from actstore.errors import InvalidInputError
from actstore.refs import by_training_step
from actstore.report.tables.slices import largest_box
from actstore.store.results.records import steps

STATE = ["model", "pooling", "transform"]
"""What arms have in common that are compared. A column that is not there counts as empty."""
ARM = [*STATE, "checkpoint", "layer"]
_PLACE = ["checkpoint", "layer"]
_NEEDED = ["checkpoint", "layer", "task", "task_type", "score"]


class Gaps(StrEnum):
    """What becomes of a mean of which a task is missing."""

    NAN = "nan"
    """It is NaN, and the table says how many tasks are scored."""
    SLICE = "slice"
    """All means are of the largest slice without gaps; arms and tasks outside are left out."""


@dataclass(frozen=True)
class StateScores:
    """The task scores of one model, pooling and transform."""

    model: str
    pooling: str
    transform: str
    scores: pd.DataFrame
    """By (checkpoint, layer), every one of them, in training order; a column a task; NaN where
    there is no score."""
    types: Mapping[str, str]
    """The type of each task."""

    @property
    def checkpoints(self) -> list[str]:
        return [str(name) for name in self.scores.index.unique("checkpoint")]

    @property
    def layers(self) -> list[int]:
        return [int(layer) for layer in self.scores.index.unique("layer")]

    def targets(self, *, tasks: bool = True) -> dict[tuple[str, str], list[str]]:
        """What an arm can be judged by, and of which tasks it is the mean.

        By (over, target): (`all`, `all tasks`), (`type`, each type), (`task`, each task).
        """
        found = {("all", "all tasks"): [str(task) for task in self.scores.columns]}
        for name in sorted(set(self.types.values())):
            found["type", name] = [task for task, kind in self.types.items() if kind == name]
        return found | ({("task", task): [task] for task in self.types} if tasks else {})

    def means(self, *, tasks: bool = True) -> pd.DataFrame:
        """A column a target, by (over, target): the mean of its tasks, NaN unless all are there."""
        return pd.DataFrame(
            {
                target: self.scores[names].mean(axis=1, skipna=False)
                for target, names in self.targets(tasks=tasks).items()
            }
        ).rename_axis(columns=["over", "target"])

    def mean_columns(self) -> Iterator[tuple[str, str, pd.Series[float]]]:
        """The same, one after the other: over, target, means."""
        means = self.means()
        for over, target in self.targets():
            yield over, target, means[over, target]

    def within(self, indices: Sequence[Sequence[int]]) -> StateScores:
        """Of some checkpoints, layers and tasks alone, by their places."""
        checkpoints = [self.checkpoints[i] for i in indices[0]]
        layers = [self.layers[i] for i in indices[1]]
        tasks = [str(self.scores.columns[i]) for i in indices[2]]
        rows = _product(checkpoints, layers)
        types = {task: self.types[task] for task in tasks}
        return replace(self, scores=self.scores.loc[rows, tasks], types=types)

    def cells(self) -> np.ndarray:
        """(checkpoint, layer, task)."""
        shape = len(self.checkpoints), len(self.layers), len(self.scores.columns)
        return self.scores.to_numpy(np.float64).reshape(shape)


def by_state(scores: pd.DataFrame, gaps: Gaps = Gaps.NAN) -> Iterator[StateScores]:
    """The scores of each model, pooling and transform.

    scores: rows of `Store.task_scores(suite)`, or any with checkpoint, layer, task, task_type and
    score; model, pooling and transform where there are several. Every task that is named in any row
    counts as one that should be scored everywhere: `whole_grid` adds those of which no row is.
    Raises InvalidInputError for other columns, and for two scores of the same.
    """
    scores = _checked(scores)
    types = _types(scores)
    for (model, pooling, transform), part in scores.groupby(STATE):
        wide = part.pivot(index=_PLACE, columns="task", values="score").astype(float)
        checkpoints = by_training_step(map(str, part["checkpoint"].unique()))
        wide = wide.reindex(_product(checkpoints, sorted(map(int, part["layer"].unique()))))
        wide = wide.reindex(columns=[*types])
        one = StateScores(str(model), str(pooling), str(transform), wide, types)
        yield one.within(largest_box(np.isfinite(one.cells()))) if gaps is Gaps.SLICE else one


def whole_grid(
    scores: pd.DataFrame,
    tasks: Mapping[str, str] | None = None,
    places: Mapping[str, Iterable[tuple[str, int]]] | None = None,
) -> pd.DataFrame:
    """Scores with a NaN for everything that should be there and is not.

    tasks: types by name, of all that should be scored, in the order wanted; None: those named.
    places: (checkpoint, layer) by model that should be scored, besides those that are.
    Returns the columns of ARM, task, task_type, score; one row for each.
    """
    scores = _checked(scores)
    types = {**(tasks or {}), **_types(scores)}
    named = pd.DataFrame({"task": [*types], "task_type": [*types.values()]})
    found = []
    for _, part in scores.groupby(STATE):
        expected = (places or {}).get(str(part["model"].iloc[0]), ())
        state = part[STATE].iloc[:1].merge(pd.DataFrame(expected, columns=_PLACE), how="cross")
        arms = pd.concat([part[ARM], state], ignore_index=True).drop_duplicates()
        found.append(arms.merge(named, how="cross"))
    columns = [*ARM, "task", "task_type"]
    grid = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)
    given = scores[[*ARM, "task", "score"]]
    return grid[columns].merge(given, how="left", on=[*ARM, "task"])


def tabulate(parts: Iterable[tuple[StateScores, pd.DataFrame]], columns: list[str]) -> pd.DataFrame:
    """One table of the parts of each state, with its names before them and steps added."""
    tables = [
        part.assign(model=one.model, pooling=one.pooling, transform=one.transform)
        for one, part in parts
    ]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    if "step" in columns:
        names = table["checkpoint"].unique()
        found = dict(zip(names, steps(names), strict=True))
        table["step"] = table["checkpoint"].map(found).astype(np.float64)
    return table[[*STATE, *(name for name in columns if name not in STATE)]]


def _product(checkpoints: Sequence[str], layers: Sequence[int]) -> pd.MultiIndex:
    pairs = [(checkpoint, layer) for checkpoint in checkpoints for layer in layers]
    return pd.MultiIndex.from_tuples(pairs, names=_PLACE)


def _types(scores: pd.DataFrame) -> dict[str, str]:
    named = scores.drop_duplicates("task")
    return dict(zip(named["task"].map(str), named["task_type"].map(str), strict=True))


def _checked(scores: pd.DataFrame) -> pd.DataFrame:
    missing = [name for name in _NEEDED if name not in scores]
    if missing:
        raise InvalidInputError(
            f"A table of scores needs the columns {', '.join(_NEEDED)}; this one has no "
            f"{', '.join(missing)}. Take what Store.task_scores(suite) returns."
        )
    scores = scores.assign(**{name: "" for name in STATE if name not in scores})
    twice = scores[scores.duplicated([*ARM, "task"])]
    if len(twice):
        one = twice.iloc[0]
        raise InvalidInputError(
            f"{one['task']} has two scores at {one['checkpoint']}, layer {one['layer']}. Take one "
            "score a task: Store.task_scores(suite), not Store.scores()."
        )
    return scores
