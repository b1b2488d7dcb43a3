"""Scoring from a store, against mteb with the same vectors in a dictionary in memory.

For one task of each type, in one process. First both sides run mteb's own code: only what answers
`encode` differs. The store's side reads the task's texts once for all layers, and of every layer
the states, whose checksums it checks; the dictionary's side finds its vectors in memory. Then the
store's side has the fast paths, as `actstore eval` has. Starting a process and loading tasks is
part of no side. Compared is the round of each side that took least.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mteb.abstasks import AbsTask
from mteb.models.abs_encoder import AbsEncoder

from actstore.evaluate import StoreEncoder
from actstore.evaluate.fast import quicken
from actstore.evaluate.scoring.encoder import TaskTexts
from actstore.store import Store
from benchmarks.evaluate_rows import MODEL, Rows, VectorsInMemory
from benchmarks.evaluate_scores import score
from benchmarks.evaluate_store import CHECKPOINT, POOLING, build_store
from benchmarks.evaluate_tasks import Settings, sized_task
from benchmarks.timing import Row, paired_costs

TASKS = (
    "EmotionClassification",
    "CEDRClassification",
    "RuSciBenchCitedCountRegression",
    "TwentyNewsgroupsClustering",
    "RedditClustering.v2",
    "TwitterSemEval2015",
    "STSBenchmark",
    "AskUbuntuDupQuestions",
    "SciFact",
    "SummEvalSummarization.v2",
    "BornholmBitextMining",
)
"""One of each type, of middling size."""
MEMORY, STORE, QUICK = "memory", "store", "store, fast paths"
_SMALLER = {"RuSciBenchCitedCountRegression": 0.1}

Scores = list[dict[str, object]]


@dataclass(frozen=True)
class Sides:
    """A task scored layer by layer, from memory and from a store."""

    task: AbsTask
    store: Store
    layers: list[Rows]

    def cases(self) -> dict[str, Callable[[], Scores]]:
        texts = self.store.texts(self.task.metadata.name)["text"].tolist()
        vectors = [dict(zip(texts, rows(texts), strict=True)) for rows in self.layers]
        memory, quick = [VectorsInMemory(one) for one in vectors], quicken(self.task)
        return {
            MEMORY: lambda: _scores(memory, self.task),
            STORE: lambda: _scores(self._encoders(), self.task),
            QUICK: lambda: _scores(self._encoders(), quick),
        }

    def _encoders(self) -> list[AbsEncoder]:
        texts = TaskTexts.of(self.store, self.task.metadata.name)
        where = {"checkpoint": CHECKPOINT, "pooling": POOLING, "texts": texts}
        return [StoreEncoder(self.store, MODEL, layer=i, **where) for i in range(len(self.layers))]


def floor_rows(settings: Settings) -> Iterator[Row]:
    return (floor_row(settings, name) for name in settings.tasks or TASKS)


def floor_row(settings: Settings, name: str) -> Row:
    sides = make_sides(settings, name)
    cases = sides.cases()
    for run in cases.values():
        run()  # imports, and what libraries do once
    costs = paired_costs(cases, settings.rounds)
    best = {case: min(one.cpu for one in found) for case, found in costs.items()}
    store, quick = (best[case] / best[MEMORY] for case in (STORE, QUICK))
    seconds = best[MEMORY] / settings.layers
    what = f"{sides.task.metadata.type} from a store ({name}, {settings.layers} layers)"
    measured = f"{store:.3f} x (of {seconds:.3f} s a layer); with fast paths {quick:.2f} x"
    return Row(what, "≤ 1.03 x CPU", measured)


def make_sides(settings: Settings, name: str) -> Sides:
    """A task, and a store of its states in float32."""
    task = sized_task(name, settings.scale * _SMALLER.get(name, 1.0))
    layers = [Rows(settings.hidden, seed) for seed in range(settings.layers)]
    store = build_store(settings.folder / f"{name}.zarr", [task], layers, "float32")
    return Sides(task, store, layers)


def _scores(encoders: list[AbsEncoder], task: AbsTask) -> Scores:
    return [score(encoder, task).scores for encoder in encoders]
