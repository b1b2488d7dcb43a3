"""How far main scores move where states are kept in float16, by type of task.

Beside it, how far they move where the last bit of every float32 value is another: what scores of a
type can be told apart by at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from actstore.evaluate.fast import quicken
from benchmarks.evaluate_rows import Rows, RowsModel
from benchmarks.evaluate_scores import score
from benchmarks.evaluate_tasks import MORE, PAPER, Settings, sized_task
from benchmarks.timing import Row

_LARGEST = {
    "AmazonReviewsClassification": 0.1,
    "ArxivClusteringS2S": 0.1,
    "RedditClustering": 0.1,
    "StackExchangeClustering": 0.1,
    "SprintDuplicateQuestions": 0.3,
    "RuSciBenchCitedCountRegression": 0.1,
}
"""Parts of the largest tasks that take their time and not another effect."""


class LastBitModel(RowsModel):
    """Gives the next float32 to each value of a row."""

    def round(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.nextafter(vectors, np.float32(np.inf))


def precision_rows(settings: Settings) -> list[Row]:
    """A row for each type of task: the largest and the mean difference over tasks and layers."""
    half, last = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for name in settings.tasks or [*PAPER, *MORE]:
        kind, by_half, by_last = differences(settings, name)
        half[kind] += by_half
        last[kind] += by_last
        print(f"{name}: {_summary(by_half)}; last bit: {_summary(by_last)}", flush=True)
    return [_row(kind, half, last) for kind in half]


def differences(settings: Settings, name: str) -> tuple[str, list[float], list[float]]:
    """Of a task's main score from float32's: with float16, and with another last bit."""
    task = quicken(sized_task(name, settings.scale * _LARGEST.get(name, 1.0)))
    half, last = [], []
    for seed in range(settings.rounds):
        rows = Rows(settings.hidden, seed)
        models = RowsModel(rows), RowsModel(rows, "float16"), LastBitModel(rows)
        whole, rounded, other = (score(model, task).main_score() for model in models)
        half.append(abs(rounded - whole))
        last.append(abs(other - whole))
    return str(task.metadata.type), half, last


def _row(kind: str, half: Mapping[str, list[float]], last: Mapping[str, list[float]]) -> Row:
    what = f"{kind}: main scores of {len(half[kind])} layers"
    return Row(what, "published", f"{_summary(half[kind])}; last bit: {_summary(last[kind])}")


def _summary(values: list[float]) -> str:
    return f"{max(values):.1e} at most, {np.mean(values):.1e} in the mean"
