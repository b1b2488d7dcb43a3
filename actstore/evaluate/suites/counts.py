"""How many texts a task encodes, from the statistics of its data that come with mteb.

Nothing is downloaded. Counts are upper bounds: which training texts are drawn, which queries have
no relevant document and which texts are in two columns is known only once a task is collected.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard, TypeVar, cast

from mteb.abstasks import (
    AbsTask,
    AbsTaskBitextMining,
    AbsTaskClassification,
    AbsTaskClustering,
    AbsTaskMultilabelClassification,
    AbsTaskRegression,
    AbsTaskSummarization,
)

from actstore.evaluate.suites import catalogue
from actstore.evaluate.suites.selection import TaskSelection

Statistics = Mapping[str, Any]
Kind = TypeVar("Kind", bound=AbsTask)

_COLUMNS = (
    "text_statistics",
    "text1_statistics",
    "text2_statistics",
    "sentence1_statistics",
    "sentence2_statistics",
    "queries_text_statistics",
    "documents_text_statistics",
)
_FRACTION = "max_fraction_of_documents_to_embed"
_SUMMARIES = ("human_summaries_statistics", "machine_summaries_statistics")
"""What is encoded of a summarisation task; the text that is summarised is not."""


@dataclass(frozen=True)
class TextCount:
    """How many texts there are to encode for one layer of one checkpoint."""

    n_texts: int
    """As a model would be asked, repeats counted."""
    n_unique: int
    """Distinct ones at most: what the store keeps."""
    shortest: int
    """Characters of the shortest; collecting refuses a task that encodes a text of none."""

    def at_most(self, limit: int | None) -> TextCount:
        """As many, but no more than `limit`; None is no limit."""
        if limit is None:
            return self
        return TextCount(min(limit, self.n_texts), min(limit, self.n_unique), self.shortest)


def total(counts: Iterable[TextCount]) -> TextCount:
    """All of them together; texts that two of them share count twice."""
    found = [*counts]
    return TextCount(
        sum(count.n_texts for count in found),
        sum(count.n_unique for count in found),
        min(count.shortest for count in found),
    )


@functools.cache
def count_texts(selection: TaskSelection) -> TextCount | None:
    """What mteb's statistics say of a task; None where they lack one of its splits or subsets."""
    task = catalogue.text_task(selection.name)
    statistics = task.metadata.descriptive_stats
    if statistics is None:
        return None
    try:
        return total(_parts(task, statistics, selection))
    except _NoStatisticsError:
        return None


class _NoStatisticsError(Exception):
    """There are none of a split or subset."""


def _is(task: AbsTask, kind: type[Kind]) -> TypeGuard[Kind]:
    """isinstance, which of an abstract class asks all of mteb's hundreds of tasks first."""
    return kind in type(task).__mro__


def _parts(task: AbsTask, statistics: Statistics, selection: TaskSelection) -> list[TextCount]:
    if _is(task, AbsTaskBitextMining) and task.parallel_subsets:
        return [_parallel(statistics, split, selection.subsets) for split in selection.splits]
    parts = []
    for subset in selection.subsets:
        parts += [_evaluated(task, _of(statistics, split, subset)) for split in selection.splits]
        if _is(task, AbsTaskClassification) and not task.is_cross_validation:
            training = _drawn(task, _of(statistics, task.train_split, subset))
            n_texts = training.n_texts * len(selection.splits)
            parts.append(replace(training, n_texts=n_texts))  # asked for again with every split
    return parts


def _of(statistics: Statistics, split: str, subset: str) -> Statistics:
    found = statistics.get(split, {})
    subsets = found.get("hf_subset_descriptive_stats")
    if subsets:
        found = subsets.get(subset)
    elif subset != "default":
        found = None
    if not found:
        raise _NoStatisticsError
    return cast(Statistics, found)


def _evaluated(task: AbsTask, of: Statistics) -> TextCount:
    """What is encoded of a split that is evaluated."""
    names = _SUMMARIES if _is(task, AbsTaskSummarization) else _COLUMNS
    count = total(_column(of[name]) for name in names if of.get(name))
    if _is(task, AbsTaskMultilabelClassification):
        return count.at_most(task.max_eval_samples)
    return count.at_most(_most_documents(task, count)) if _is(task, AbsTaskClustering) else count


def _most_documents(task: AbsTaskClustering, count: TextCount) -> int | None:
    """How many documents a clustering task draws; None for all.

    Some tasks subsample while they load and then take all: they change the limit in code that has
    not run yet, so that the limit of their class is not the one they will have.
    """
    loading = (task.load_data, task.dataset_transform)
    if any(_FRACTION in inspect.unwrap(method).__code__.co_names for method in loading):
        return None
    fraction, number = task.max_fraction_of_documents_to_embed, task.max_document_to_embed
    return number if fraction is None else int(fraction * count.n_texts)


def _drawn(task: AbsTaskClassification, train: Statistics) -> TextCount:
    """What is encoded of the training split: the union of what each experiment draws."""
    if _is(task, AbsTaskRegression):
        each = task.n_samples
    else:
        each = task.samples_per_label * int(train["label_statistics"]["unique_labels"])
    return _column(train["text_statistics"]).at_most(task.n_experiments * each)


def _parallel(statistics: Statistics, split: str, subsets: Iterable[str]) -> TextCount:
    """Of parallel texts each language is encoded once, however many pairs it is in."""
    languages = {}
    for subset in subsets:
        of = _of(statistics, split, subset)
        for number, language in enumerate(subset.split("-"), 1):
            languages[language] = _column(of[f"sentence{number}_statistics"])
    return total(languages.values())


def _column(of: Statistics) -> TextCount:
    if "total_text_length" not in of:  # statistics of an older form (SynPerTextTone)
        raise _NoStatisticsError
    n_texts = round(of["total_text_length"] / of["average_text_length"])
    return TextCount(n_texts, of["unique_texts"], of["min_text_length"])
