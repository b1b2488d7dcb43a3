"""What a task encodes: its own evaluation is run on cheap vectors and every call is written down.

Which texts a task encodes, in which order, does not depend on the vectors it gets, so the record
is what any model would be asked. mteb's own code decides it; nothing is re-implemented here.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from mteb._create_dataloaders import create_dataloader
from mteb.abstasks import (
    AbsTask,
    AbsTaskBitextMining,
    AbsTaskClassification,
    AbsTaskPairClassification,
)
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.models.search_wrappers import SearchEncoderWrapper
from mteb.types import PromptType
from numpy.typing import NDArray

from actstore.evaluate.fast.ranking.plan import distinct_rows

_N_FEATURES = 8
_BATCH: dict[str, Any] = {"batch_size": 1024, "show_progress_bar": False}
_CALLS_BEFORE_SCORING = {AbsTaskClassification: 2, AbsTaskPairClassification: 2}
"""Kinds of tasks of which one subset is that many calls and then much scoring, which is left out:
training and evaluated texts, first and second texts."""


@dataclass(frozen=True)
class EncodeCall:
    """One call of a model's `encode`."""

    split: str
    subset: str
    prompt_type: str
    """`query`, `document`, or empty."""
    texts: tuple[str, ...]
    """As the tokenizer gets them: titles and instructions joined in by mteb."""


def record_calls(task: AbsTask) -> list[EncodeCall]:
    """Every call of `encode` that evaluating a loaded task makes, in order."""
    recorder = Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scores that are undefined on meaningless vectors
        for split in task.eval_splits:
            for subsets in _subset_batches(task):
                _evaluate(task, recorder, split, subsets)
    return recorder.calls


def _subset_batches(task: AbsTask) -> list[list[str]]:
    """The subsets that mteb evaluates together: all of them in bitext mining, else one by one."""
    if isinstance(task, AbsTaskBitextMining):
        return [[*task.hf_subsets]]
    return [[subset] for subset in task.hf_subsets]


def _evaluate(task: AbsTask, recorder: Recorder, split: str, subsets: list[str]) -> None:
    recorder.stop_after(_calls_before_scoring(task))
    try:
        task.evaluate(recorder, split, subsets_to_run=subsets, encode_kwargs=dict(_BATCH))
    except _AllRecordedError:
        return


def _calls_before_scoring(task: AbsTask) -> int | None:
    for kind, n_calls in _CALLS_BEFORE_SCORING.items():
        if type(task)._evaluate_subset is kind._evaluate_subset:
            return n_calls
    return None


class _AllRecordedError(Exception):
    """Ends an evaluation before anything is scored."""


class Recorder(AbsEncoder):
    """A model that remembers what it was asked, and answers with checksums of the texts.

    It searches by itself, so that retrieval and reranking end before anything is scored.
    """

    def __init__(self) -> None:
        self.calls: list[EncodeCall] = []
        self._last: int | None = None
        self.mteb_model_meta = ModelMeta.create_empty(
            {"name": "actstore/recorder", "similarity_fn_name": ScoringFunction.COSINE}
        )

    def stop_after(self, n_calls: int | None) -> None:
        """End the evaluation that follows after some calls."""
        self._last = None if n_calls is None else len(self.calls) + n_calls

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> NDArray[np.float32]:
        """Vectors (text, 8) that depend on the texts alone."""
        texts = inputs.dataset["text"][:]
        kind = "" if prompt_type is None else str(prompt_type.value)
        self.calls.append(EncodeCall(hf_split, hf_subset, kind, tuple(texts)))
        if len(self.calls) == self._last:
            raise _AllRecordedError
        return _checksums(texts)

    def index(self, corpus: Any, **kwargs: Any) -> None:
        """Keep the corpus of the search that follows."""
        self._corpus = corpus

    def search(
        self,
        queries: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        top_ranked: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Record what mteb's SearchEncoderWrapper encodes: the queries, then the corpus.

        The corpus is encoded in one piece to rerank candidates, else in the wrapper's chunks.
        """
        whole = len(self._corpus)
        chunk = SearchEncoderWrapper(self).corpus_chunk_size if top_ranked is None else whole
        pieces = [(queries, PromptType.query)]
        for start in range(0, whole, chunk):
            rows = range(start, min(start + chunk, whole))
            pieces.append((self._corpus.select(rows), PromptType.document))
        for data, prompt_type in pieces:
            texts = _joined(data, task_metadata, prompt_type)
            self.calls.append(EncodeCall(hf_split, hf_subset, str(prompt_type.value), texts))
        raise _AllRecordedError


def _joined(data: Any, task_metadata: Any, prompt_type: PromptType) -> tuple[str, ...]:
    """The texts of rows as mteb joins them of titles and instructions, row by row.

    Rows that are equal but for their identifier have equal texts, so mteb gets one of each.
    """
    first_rows, text_of = distinct_rows(data)
    loader = create_dataloader(
        data.select(first_rows),
        task_metadata=task_metadata,
        prompt_type=prompt_type,
        batch_size=1024,
    )
    texts = loader.dataset["text"][:]
    return tuple(texts[text] for text in text_of.tolist())


def _checksums(texts: list[str]) -> NDArray[np.float32]:
    """(text, 8) in [1, 2), no two texts alike in all but a few cases."""
    first = np.array([zlib.crc32(text.encode(errors="surrogatepass")) for text in texts], np.uint64)
    steps = np.arange(1, _N_FEATURES + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (first[:, None] + np.uint64(1)) * steps[None, :]
    return (1 + (mixed >> np.uint64(40)).astype(np.float32) / 2**24).astype(np.float32)
