"""The demo's MTEB tasks: real task classes over text that every Python installation carries.

They behave as any of mteb's own do, except that `load_data` reads no hub, and `mteb.get_task`
does not know them: take them from DEMO_TASKS.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import datasets
from mteb import TaskMetadata
from mteb.abstasks import (
    AbsTask,
    AbsTaskClassification,
    AbsTaskClusteringLegacy,
    AbsTaskPairClassification,
    AbsTaskRetrieval,
)

from actstore.evaluate.suites.demo_texts import Passage, kinds, package_pairs, remarks, topics

_N_TRAIN = 40
"""Of each package's docstrings, those a classifier may learn from; the others are its test."""

_N_LIBRARY = 54
"""Of each package's docstrings, those that are searched; the others are the queries."""


def _metadata(name: str, task_type: str, main_score: str, description: str) -> TaskMetadata:
    return TaskMetadata(
        name=name,
        type=task_type,
        main_score=main_score,
        description=description,
        category="t2c" if task_type == "Classification" else "t2t",
        # The texts are those of the running Python; nothing is fetched from this path.
        dataset={"path": "python/standard-library", "revision": platform.python_version()},
        reference="https://docs.python.org/3/library/",
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        date=("1991-02-20", "2026-10-01"),
        domains=["Programming", "Written"],
        task_subtypes=["Topic classification"],
        license="https://docs.python.org/3/license.html",
        annotations_creators="derived",
        dialect=[],
        sample_creation="found",
        bibtex_citation="",
    )


class DocstringModuleClassification(AbsTaskClassification):
    """Which of ten packages is this docstring from?"""

    metadata = _metadata(
        "DocstringModuleClassification",
        "Classification",
        "accuracy",
        "Name the standard library's package that a docstring is from.",
    )
    samples_per_label = 24
    n_experiments = 5

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Fill `dataset`: columns text, label and label_text, splits train and test."""
        train = _chosen(slice(_N_TRAIN))
        test = _chosen(slice(_N_TRAIN, None))
        self.dataset = datasets.DatasetDict(
            train=_labelled((passage.text, passage.package) for passage in train),
            test=_labelled((passage.text, passage.package) for passage in test),
        )
        self.data_loaded = True


class TextKindClassification(AbsTaskClassification):
    """Does this text describe a module, a class or a function, or is it a comment?"""

    metadata = _metadata(
        "TextKindClassification",
        "Classification",
        "accuracy",
        "Tell docstrings of modules, classes and functions and comments from each other.",
    )
    samples_per_label = 40
    n_experiments = 5

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Fill `dataset`: columns text, label and label_text, splits train and test."""
        rows = [(passage.text, passage.kind) for passage in kinds(120)]
        half = len(rows) // 2
        self.dataset = datasets.DatasetDict(
            train=_labelled(rows[:half]), test=_labelled(rows[half:])
        )
        self.data_loaded = True


class DocstringModuleClustering(AbsTaskClusteringLegacy):
    """Do docstrings of one package lie together?"""

    metadata = _metadata(
        "DocstringModuleClustering",
        "Clustering",
        "v_measure",
        "Group docstrings by the standard library's package they are from.",
    )

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Fill `dataset`: columns sentences and labels, one row for each of two cluster sets."""
        half = len(next(iter(topics().values()))) // 2
        sets = [_chosen(slice(half)), _chosen(slice(half, None))]
        rows = {
            "sentences": [[passage.text for passage in passages] for passages in sets],
            "labels": [[passage.package for passage in passages] for passages in sets],
        }
        self.dataset = datasets.DatasetDict(test=datasets.Dataset.from_dict(rows))
        self.data_loaded = True


class DocstringPairClassification(AbsTaskPairClassification):
    """Are these two docstrings from one package?"""

    metadata = _metadata(
        "DocstringPairClassification",
        "PairClassification",
        "max_ap",
        "Tell whether two docstrings are from the same package of the standard library.",
    )

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Fill `dataset`: columns sentence1, sentence2 and labels."""
        pairs = package_pairs()
        rows = {
            "sentence1": [first.text for first, _ in pairs],
            "sentence2": [second.text for _, second in pairs],
            "labels": [int(first.package == second.package) for first, second in pairs],
        }
        self.dataset = datasets.DatasetDict(test=datasets.Dataset.from_dict(rows))
        self.data_loaded = True


class DocstringModuleRetrieval(AbsTaskRetrieval):
    """Given a docstring, find others of its package."""

    metadata = _metadata(
        "DocstringModuleRetrieval",
        "Retrieval",
        "ndcg_at_10",
        "For a docstring find others from the same package of the standard library.",
    )

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Fill `dataset`: corpus, queries and relevant_docs."""
        split = _search(_chosen(slice(_N_LIBRARY, None)), _chosen(slice(_N_LIBRARY)))
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


class CommentDocstringReranking(AbsTaskRetrieval):
    """Given a comment, put docstrings of its package before those of others."""

    metadata = _metadata(
        "CommentDocstringReranking",
        "Reranking",
        "map_at_1000",
        "Put docstrings of the package that a comment is from before those of other packages.",
    )

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Fill `dataset`: corpus, queries, relevant_docs and, 30 to a query, top_ranked."""
        library = _chosen(slice(_N_LIBRARY))
        split = _search(remarks(20), library)
        split["top_ranked"] = {
            query: _three_of_each_package(library, first=3 * index)
            for index, query in enumerate(split["relevant_docs"])
        }
        split["relevant_docs"] = {
            query: {document: 1 for document in shown if document in split["relevant_docs"][query]}
            for query, shown in split["top_ranked"].items()
        }
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


def _chosen(which: slice) -> list[Passage]:
    """These docstrings of every package, package by package."""
    return [passage for passages in topics().values() for passage in passages[which]]


def _labelled(rows: Iterable[tuple[str, str]]) -> datasets.Dataset:
    """Columns text, label (numbered in the labels' alphabetical order) and label_text."""
    texts, names = zip(*rows, strict=True)
    number = {name: index for index, name in enumerate(sorted(set(names)))}
    columns = {"text": texts, "label": [number[name] for name in names], "label_text": names}
    return datasets.Dataset.from_dict(columns)


def _search(queries: Sequence[Passage], library: Sequence[Passage]) -> dict[str, Any]:
    """A retrieval split in which a query's relevant documents are those of its package."""
    of_package: dict[str, dict[str, int]] = {}
    for index, passage in enumerate(library):
        of_package.setdefault(passage.package, {})[f"d{index}"] = 1
    return {
        "corpus": _identified("d", library),
        "queries": _identified("q", queries),
        "relevant_docs": {f"q{n}": of_package[query.package] for n, query in enumerate(queries)},
        "top_ranked": None,
    }


def _identified(prefix: str, passages: Sequence[Passage]) -> datasets.Dataset:
    rows = {
        "id": [f"{prefix}{index}" for index in range(len(passages))],
        "title": [""] * len(passages),
        "text": [passage.text for passage in passages],
    }
    return datasets.Dataset.from_dict(rows)


def _three_of_each_package(library: Sequence[Passage], first: int) -> list[str]:
    """Ids of the library's documents `first` and the two after it of every package."""
    of_package: dict[str, list[str]] = {}
    for index, passage in enumerate(library):
        of_package.setdefault(passage.package, []).append(f"d{index}")
    return [
        documents[(first + offset) % len(documents)]
        for documents in of_package.values()
        for offset in range(3)
    ]


DEMO_TASKS: Mapping[str, type[AbsTask]] = {
    task.metadata.name: task
    for task in (
        DocstringModuleClassification,
        TextKindClassification,
        DocstringModuleClustering,
        DocstringPairClassification,
        DocstringModuleRetrieval,
        CommentDocstringReranking,
    )
}
"""The demo's tasks by name."""
