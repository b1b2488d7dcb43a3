"""Reranking tasks without a Python object for every candidate.

A task is quickened where its class scores candidates with mteb's own functions. Its quick way is
taken for an encoder that mteb compares by cosine and where nothing but scores is asked for;
everything else runs mteb's code unchanged.
"""

from __future__ import annotations

from typing import Any

import torch
from mteb.abstasks import AbsTask, AbsTaskRetrieval
from mteb.models import CrossEncoderProtocol, EncoderProtocol, SearchProtocol
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ScoringFunction
from mteb.tasks.reranking.eng.mind_small_reranking import MindSmallReranking

from actstore.evaluate.fast.ranking import NotANumberError
from actstore.evaluate.fast.ranking_split import EncodeCall, RankingSplit

_OWN = ("evaluate", "_evaluate_subset", "convert_v1_dataset_format_to_v2")
_EXTRA = (AbsTaskRetrieval.task_specific_scores, MindSmallReranking.task_specific_scores)


def quicken_reranking(task: AbsTask) -> AbsTask:
    """A task of the same data and scores that ranks candidates in blocks; or the task as it is.

    The model's vectors must depend on the texts alone, as stored ones do: it is asked for each
    distinct text once. Tasks that rank their whole corpus score it in mteb's own way.
    """
    kind = type(task)
    if not isinstance(task, AbsTaskRetrieval) or not _is_known(kind):
        return task
    # The class has the splits, so that the task has no attribute that loading did not give it.
    members = {"__module__": kind.__module__, "_splits": {}}
    quick: AbsTask = object.__new__(type(kind.__name__, (_QuickReranking, kind), members))
    vars(quick).update(vars(task))
    return quick


def _is_known(kind: type[AbsTaskRetrieval]) -> bool:
    own = all(getattr(kind, name) is getattr(AbsTaskRetrieval, name) for name in _OWN)
    plain = not (kind.ignore_identical_ids or kind.skip_first_result)
    return own and plain and kind.task_specific_scores in _EXTRA


class _QuickReranking(AbsTaskRetrieval):
    """Stands before a task's class."""

    _splits: dict[tuple[str, str], RankingSplit]

    def _evaluate_subset(self, model: Any, data_split: Any, **options: Any) -> Any:
        """mteb's scores of one split of one subset."""
        split = self._split(data_split, options["hf_subset"], options["hf_split"])
        if split.plan is None or not _is_plain(model) or not _asks_for_scores(self, options):
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
            merge = type(self).task_specific_scores is MindSmallReranking.task_specific_scores
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
