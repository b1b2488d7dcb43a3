"""Real mteb tasks on data of the size they really have, or of a part of it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mteb.abstasks import AbsTask

from actstore.evaluate import SUITES, TaskSelection
from actstore.evaluate.suites import catalogue
from benchmarks import evaluate_shapes as shapes

MIND = "MindSmallReranking"
PAPER = {task.name: task for task in SUITES["layer-by-layer"]().tasks if task.name != MIND}
"""The tasks of the Layer by Layer paper but for MindSmallReranking, which has a benchmark of its
own: `python -m benchmarks.evaluate_mind`."""

_OTHERS = {
    "CEDRClassification": "default",
    "RuSciBenchCitedCountRegression": "cited_count_en",
    "RedditClustering.v2": "default",
    "SciFact": "default",
    "SummEvalSummarization.v2": "default",
    "BornholmBitextMining": "default",
}
MORE = {name: TaskSelection.of_all(name, ["test"], [subset]) for name, subset in _OTHERS.items()}
"""One task of each type that the paper has not."""

SELECTIONS = {**PAPER, **MORE}

_Stats = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """How large the benchmarks of evaluation are, and where they may write."""

    folder: Path
    hidden: int = 1024
    scale: float = 1.0
    """Times the rows that tasks really have."""
    layers: int = 25
    rounds: int = 3
    tasks: tuple[str, ...] = ()
    """Empty: those of each benchmark."""


def sized_task(name: str, scale: float = 1.0) -> AbsTask:
    """A task with data of `scale` times its real number of rows, loaded and ready to evaluate."""
    selection = SELECTIONS[name]
    task = catalogue.new_task(name, selection.splits, selection.subsets)
    statistics = task.metadata.descriptive_stats
    data = {}
    for subset in selection.subsets:
        stats = {split: _of_subset(one, subset) for split, one in statistics.items()}
        rng = np.random.default_rng(zlib.crc32(f"{name} {subset}".encode()))
        data[subset] = _SHAPES[_kind(task)](name, stats, scale, rng)
    is_search = _kind(task) in ("Reranking", "Retrieval")
    task.dataset = data if task.metadata.is_multilingual or is_search else data["default"]
    if name == "RedditClustering.v2":
        task.max_fraction_of_documents_to_embed = None  # as its own dataset_transform sets it
    task.data_loaded = True
    return task


def _kind(task: AbsTask) -> str:
    """The task's type; of clustering, the newer kind apart."""
    newer = task.metadata.type == "Clustering" and task.metadata.name.endswith(".v2")
    return "Clustering.v2" if newer else str(task.metadata.type)


def _of_subset(stats: _Stats, subset: str) -> _Stats:
    by_subset: _Stats = stats.get("hf_subset_descriptive_stats") or {}
    found: _Stats = by_subset.get(subset, stats)
    return found


def _splits(stats: _Stats) -> _Stats:
    return {split: stats[split] for split in ("train", "test")}


_Build = Callable[[str, _Stats, float, np.random.Generator], Any]

_SHAPES: Mapping[str, _Build] = {
    "Classification": lambda _, s, *size: shapes.classification(_splits(s), *size),
    "MultilabelClassification": lambda _, s, *size: shapes.several_labels(_splits(s), *size),
    "Regression": lambda _, s, *size: shapes.values(_splits(s), *size),
    "Clustering": lambda name, s, *size: shapes.cluster_sets(name, s["test"], *size),
    "Clustering.v2": lambda _, s, *size: shapes.clustered(s["test"], *size),
    "PairClassification": lambda _, s, *size: shapes.pairs(s["test"], *size),
    "STS": lambda _, s, *size: shapes.similarities(s["test"], *size),
    "Reranking": lambda _, s, *size: {"test": shapes.search(s["test"], *size, offers=True)},
    "Retrieval": lambda _, s, *size: {"test": shapes.search(s["test"], *size, offers=False)},
    "Summarization": lambda _, s, *size: shapes.summaries(s["test"], *size),
    "BitextMining": lambda _, s, *size: shapes.translations(s["test"], *size),
}
