"""Which tasks are made quicker, and how.

Nothing of mteb is patched. A task whose data is at hand gets a subclass of its own class, and its
data sets become tables. A task that does anything in its own way stays as it is.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from mteb.abstasks import AbsTask
from mteb.abstasks.classification import AbsTaskClassification
from mteb.abstasks.clustering import AbsTaskClustering
from mteb.abstasks.clustering_legacy import AbsTaskClusteringLegacy
from mteb.abstasks.multilabel_classification import AbsTaskMultilabelClassification
from mteb.abstasks.pair_classification import AbsTaskPairClassification
from mteb.abstasks.regression import AbsTaskRegression
from mteb.abstasks.sts import AbsTaskSTS

from actstore.evaluate.fast.classification import QuickDraws, QuickFits, QuickMetrics
from actstore.evaluate.fast.clustering import QuickSets, with_label_codes
from actstore.evaluate.fast.multilabel import QuickMultilabel
from actstore.evaluate.fast.pairs import QuickPairs, QuickSimilarity, unfolded
from actstore.evaluate.fast.ranking.reranking import quicken_reranking
from actstore.evaluate.fast.tables import as_table, map_leaves

KNOWN_MTEB = frozenset({"2.26.24"})
"""Versions of mteb whose scores these are proven to be."""


@dataclass(frozen=True)
class Quickening:
    """How the tasks of one of mteb's abstract classes are made quicker."""

    base: type[AbsTask]
    functions: dict[str, Any]
    """What scores a task: it must be the base's own, as it was when this was imported."""
    mixins: tuple[type, ...]
    prepare: Callable[[AbsTask, Any], Any]
    """A data set of the task -> the one to use."""

    def fits(self, task: AbsTask) -> bool:
        kind = type(task)
        own = all(getattr(kind, name, None) is value for name, value in self.functions.items())
        return own and isinstance(task, self.base) and not self.functions.keys() & vars(task)

    def apply(self, task: AbsTask) -> AbsTask:
        quick = copy.copy(task)
        kind: type = type(task)
        quick.__class__ = _subclass(kind, self.mixins)
        quick.rng_state, quick.np_rng = copy.deepcopy((task.rng_state, task.np_rng))
        quick.dataset = map_leaves(task.dataset, functools.partial(self.prepare, task))
        return quick


def quicken(task: AbsTask) -> AbsTask:
    """A task with the same scores, to the last bit, in less time.

    The model's vectors must depend on the texts alone, as stored ones do: of pairs and searches it
    is asked for each distinct text once. The task given is left as it is. It is returned where it
    is unknown: of another version of mteb, of another type, with code of its own, or without its
    data.
    """
    texts_only = task.metadata.modalities == ["text"]
    if not texts_only or not task.data_loaded or _mteb_version() not in KNOWN_MTEB:
        return task
    fitting = (one for one in QUICKENINGS if one.fits(task))
    quickening = next(fitting, None)
    return quicken_reranking(task) if quickening is None else quickening.apply(task)


def _tables(_: AbsTask, data: Any) -> Any:
    return as_table(data)


def _pairs(_: AbsTask, data: Any) -> Any:
    return unfolded(data)


def _coded(task: Any, data: Any) -> Any:
    return with_label_codes(data, task.label_column_name)


def _quickening(
    base: type[AbsTask],
    functions: str,
    *mixins: type,
    prepare: Callable[[AbsTask, Any], Any] = _tables,
) -> Quickening:
    names = ["evaluate", "_evaluate_subset", "_add_main_score", *functions.split()]
    return Quickening(base, {name: getattr(base, name) for name in names}, mixins, prepare)


_CLASSIFICATION = """_evaluate_subset_cross_validation _undersample_data _run_experiment
    _calculate_scores _calculate_avg_scores"""

QUICKENINGS = (
    _quickening(
        AbsTaskMultilabelClassification,
        "_undersample_data_indices _calculate_scores",
        QuickMultilabel,
    ),
    _quickening(AbsTaskRegression, _CLASSIFICATION),
    _quickening(AbsTaskClassification, _CLASSIFICATION, QuickDraws, QuickFits, QuickMetrics),
    _quickening(AbsTaskClusteringLegacy, "_compute_metrics", QuickSets),
    _quickening(AbsTaskClustering, "", prepare=_coded),
    _quickening(
        AbsTaskPairClassification,
        """_compute_metrics _compute_metrics_values _find_best_acc_and_threshold
        _find_best_f1_and_threshold""",
        QuickPairs,
        prepare=_pairs,
    ),
    _quickening(AbsTaskSTS, "_calculate_scores _normalize", QuickSimilarity),
)
"""By abstract class; the first that fits a task is taken."""


@functools.cache
def _subclass(kind: type, mixins: tuple[type, ...]) -> type:
    """A class like `kind`, under its name, with the mixins' ways."""
    return type(kind)(kind.__name__, (*mixins, kind), {"__module__": kind.__module__})


@functools.cache
def _mteb_version() -> str:
    return version("mteb")
