"""Reranking tasks without a Python object for every candidate.

A task is quickened where its class scores candidates with mteb's own functions. Its quick way is
taken for an encoder that mteb compares by cosine and where nothing but scores is asked for;
everything else runs mteb's code unchanged.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from mteb.abstasks import AbsTask, AbsTaskRetrieval
from mteb.models import CrossEncoderProtocol, EncoderProtocol, SearchProtocol
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ScoringFunction
from mteb.tasks.reranking.eng.mind_small_reranking import MindSmallReranking

from actstore.evaluate.fast.ranking.rank import NotANumberError
from actstore.evaluate.fast.ranking.split import PARTS, EncodeCall, RankingSplit

_KNOWN = {
    name: getattr(AbsTaskRetrieval, name)
    for name in ("evaluate", "_evaluate_subset", "_add_main_score")
}
"""What scores a task, as it was when this was imported."""
_MERGING = MindSmallReranking.task_specific_scores
_EXTRA_SCORES = (AbsTaskRetrieval.task_specific_scores, _MERGING)


def quicken_reranking(task: AbsTask) -> AbsTask:
    """A task of the same data and scores that ranks candidates in blocks; or the task as it is.

    The model's vectors must depend on the texts alone, as stored ones do: it is asked for each
    distinct text once. Tasks that rank their whole corpus score it in mteb's own way.
    """
    if not isinstance(task, AbsTaskRetrieval) or not _is_known(task):
        return task
    quick = copy.copy(task)
    kind: type = type(task)
    # The class has the splits, so that the task has no attribute that loading did not give it.
    members = {"__module__": kind.__module__, "_splits": {}}
    quick.__class__ = type(kind)(kind.__name__, (_QuickReranking, kind), members)
    quick.rng_state, quick.np_rng = copy.deepcopy((task.rng_state, task.np_rng))
    quick.dataset = _with_new_dicts(task.dataset)
    return quick


def _with_new_dicts(data: Any) -> Any:
    """The same parts in new dicts: mteb replaces parts of a split while it scores."""
    if not isinstance(data, dict):
        return data
    return {
        key: _with_new_dicts(value) if key not in PARTS else value for key, value in data.items()
    }


def _is_known(task: AbsTaskRetrieval) -> bool:
    kind = type(task)
    own = all(getattr(kind, name) is value for name, value in _KNOWN.items())
    changed = {*_KNOWN, "task_specific_scores"} & vars(task).keys()
    plain = not (task.ignore_identical_ids or task.skip_first_result or changed)
    return own and plain and kind.task_specific_scores in _EXTRA_SCORES


class _QuickReranking(AbsTaskRetrieval):
    """Stands before a task's class."""

    _splits: dict[tuple[str, str], RankingSplit]

    def _evaluate_subset(self, model: Any, data_split: Any, **options: Any) -> Any:
        """mteb's scores of one split of one subset."""
        split = None
        if _is_plain(model) and _asks_for_scores(self, options):
            split = self._split(data_split, options["hf_subset"], options["hf_split"])
        if split is None or split.plan is None:
            return super()._evaluate_subset(model, data_split, **options)
        call = EncodeCall(
            metadata=self.metadata,
            subset=options["hf_subset"],
            split=options["hf_split"],
            options=dict(options["encode_kwargs"]),
            num_proc=options.get("num_proc"),
            timer=options["timer"],
        )
        try:
            scores = split.scores(model, call)
        except NotANumberError:
            scores = None
        return scores or super()._evaluate_subset(model, data_split, **options)

    def _split(self, data: Any, subset: str, split: str) -> RankingSplit:
        known = self._splits.get((subset, split))
        if known is None or not known.is_of(data):
            merge = type(self).task_specific_scores is _MERGING
            known = RankingSplit(data, self.k_values, self._top_k, merge=merge)
            self._splits[subset, split] = known
        return known


def _is_plain(model: Any) -> bool:
    """Whether mteb compares the model's vectors by its own cosine, on the CPU."""
    other = isinstance(model, (SearchProtocol, CrossEncoderProtocol))
    if other or not isinstance(model, EncoderProtocol):
        return False
    compared = type(model).__dict__.get("similarity", AbsEncoder.similarity)
    cosine = model.mteb_model_meta.similarity_fn_name is ScoringFunction.COSINE
    on_cpu = not (torch.cuda.is_available() or torch.backends.mps.is_available())
    return isinstance(model, AbsEncoder) and compared is AbsEncoder.similarity and cosine and on_cpu


def _asks_for_scores(task: AbsTaskRetrieval, options: dict[str, Any]) -> bool:
    """Whether no predictions are to be saved and no option is given that this does not know."""
    known = {"hf_split", "hf_subset", "encode_kwargs", "num_proc", "timer", "prediction_folder"}
    more = options.get("prediction_folder") or task._previous_results_model_meta
    return not more and set(options) <= known
