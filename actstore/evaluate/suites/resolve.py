"""Suites: named lists of MTEB tasks, with the splits and subsets that are run and averaged."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actstore.errors import UnknownNameError
from actstore.evaluate.suites import catalogue
from actstore.evaluate.suites.selection import Suite, TaskSelection
from actstore.refs import look_up
from actstore.store import Store

_LISTING = "List them: actstore suites."
_LONGEST_NAME = 120
"""A suite's name is a file's name in the store."""


@dataclass(frozen=True)
class SuiteRow:
    """One line of the list of suites."""

    name: str
    n_tasks: int
    description: str


_LAYER_BY_LAYER = {
    "PairClassification": "SprintDuplicateQuestions TwitterSemEval2015 TwitterURLCorpus",
    "Classification": "AmazonCounterfactualClassification AmazonReviewsClassification "
    "Banking77Classification EmotionClassification MTOPDomainClassification "
    "MTOPIntentClassification MassiveIntentClassification MassiveScenarioClassification "
    "ToxicConversationsClassification TweetSentimentExtractionClassification",
    "Clustering": "ArxivClusteringS2S BiorxivClusteringS2S MedrxivClusteringS2S RedditClustering "
    "StackExchangeClustering TwentyNewsgroupsClustering",
    "Reranking": "AskUbuntuDupQuestions MindSmallReranking SciDocsRR StackOverflowDupQuestions",
    "STS": "BIOSSES SICK-R STS12 STS13 STS14 STS15 STS16 STS17 STSBenchmark",
}
"""By name: the paper's rule (MTEB(eng) without p2p and retrieval) selects other tasks in mteb 2."""

_ENGLISH = {
    "AmazonCounterfactualClassification": ("en", "en-ext"),
    "AmazonReviewsClassification": ("en",),
    "MTOPDomainClassification": ("en",),
    "MTOPIntentClassification": ("en",),
    "MassiveIntentClassification": ("en",),
    "MassiveScenarioClassification": ("en",),
    "STS17": ("en-en",),
}
"""The English subsets of the tasks that have subsets."""


def _layer_by_layer() -> Suite:
    """The 32 tasks of Skean et al. 2025, https://arxiv.org/abs/2502.02013, English, test split."""
    names = [name for group in _LAYER_BY_LAYER.values() for name in group.split()]
    tasks = [
        TaskSelection.of_all(name, ["test"], _ENGLISH.get(name, ("default",))) for name in names
    ]
    return Suite(
        "layer-by-layer", "The 32 English tasks of the Layer by Layer paper, test split", (*tasks,)
    )


def _demo() -> Suite:
    tasks = [select_task(name) for name in catalogue.demo_tasks()]
    return Suite("demo", "Small tasks made of Python's own docstrings; needs no network", (*tasks,))


SUITES: dict[str, Callable[[], Suite]] = {"layer-by-layer": _layer_by_layer, "demo": _demo}
"""Suites of our own by name. mteb's benchmarks and tasks are suites too, by their names."""


def resolve_suite(suite: Suite | str | Sequence[str], store: Store | None = None) -> Suite:
    """The suite of a name, or of some task names; a Suite is returned as it is.

    suite: one of SUITES, a suite collected into `store`, a benchmark or task of mteb, several task
    names, or the same separated by commas. Raises UnknownNameError with the nearest names, and
    InvalidInputError for a task that is not made of text.
    """
    if isinstance(suite, Suite):
        return suite
    if not isinstance(suite, str):
        return _of_tasks([*suite], store)
    if store is not None and suite in store.suites():
        return Suite.from_json(store.suite(suite))
    if suite in SUITES:
        return SUITES[suite]()
    if suite in catalogue.benchmarks():
        return _of_benchmark(suite)
    names = [name.strip() for name in suite.split(",")]
    if len(names) > 1:
        return _of_tasks(names, store)
    known = [*SUITES, *catalogue.benchmarks(), *catalogue.tasks()]
    return _of_tasks([look_up("suite or task", suite, known, _LISTING)], store)


def select_task(name: str, store: Store | None = None) -> TaskSelection:
    """A task with the splits and subsets it was collected with, else all that mteb runs."""
    if store is not None and name in store.tasks():
        return TaskSelection.from_json(store.task(name).manifest["selection"])
    look_up("task", name, catalogue.tasks(), _LISTING)
    task = catalogue.new_task(name)
    return TaskSelection.of_all(name, task.eval_splits, task.hf_subsets)


def list_suites() -> list[SuiteRow]:
    """What `resolve_suite` knows by name, single tasks left out."""
    suites = [make() for make in SUITES.values()]
    ours = [SuiteRow(suite.name, len(suite.tasks), suite.description) for suite in suites]
    theirs = [
        SuiteRow(name, len(benchmark.tasks), _first_sentence(benchmark.description))
        for name, benchmark in catalogue.benchmarks().items()
        if name == benchmark.name and catalogue.is_text(benchmark)
    ]
    return ours + theirs


def _first_sentence(description: str | None) -> str:
    return (description or "").split(". ")[0].strip()


def _of_tasks(names: list[str], store: Store | None) -> Suite:
    if not names:
        raise UnknownNameError(f"A suite of no tasks was asked for. {_LISTING}")
    tasks = tuple(select_task(name, store) for name in dict.fromkeys(names))
    joined = ",".join(task.name for task in tasks)
    if len(joined) > _LONGEST_NAME:
        joined = f"{tasks[0].name} and {len(tasks) - 1} more ({zlib.crc32(joined.encode()):08x})"
    return Suite(joined, "Tasks chosen by name", tasks)


def _of_benchmark(name: str) -> Suite:
    """A benchmark of mteb by name or alias: splits and subsets are the benchmark's."""
    benchmark = catalogue.benchmarks()[name]
    tasks = [task for one in benchmark.tasks for task in catalogue.parts(one)]
    for task in tasks:
        catalogue.require_text(task)
    selections = {
        task.metadata.name: TaskSelection.of_all(
            task.metadata.name, task.eval_splits, task.hf_subsets
        )
        for task in tasks
    }
    return Suite(benchmark.name, _first_sentence(benchmark.description), (*selections.values(),))
