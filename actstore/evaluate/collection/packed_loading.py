"""Loading candidates and judgements packed, as they will be stored.

mteb makes a string of every candidate while it loads them: 20 GB for MindSmallReranking.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features, Sequence, Value
from mteb.abstasks import AbsTask, AbsTaskRetrieval, retrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalDatasetLoader

from actstore.evaluate.fast import KNOWN_MTEB
from actstore.evaluate.fast.ranking.lists import Candidates, Judgements, encoded


@contextmanager
def packed_loading(task: AbsTask, mteb_version: str) -> Iterator[None]:
    """Within the block, what a task loads has packed candidates and judgements.

    They read like the dictionaries that they are otherwise, and only tasks that load and keep their
    data in mteb's own way get them. mteb offers no other place to do this: its loader is replaced
    for the time of the block.
    """
    known = isinstance(task, AbsTaskRetrieval) and mteb_version in KNOWN_MTEB
    before = retrieval.RetrievalDatasetLoader
    if not known or not _loads_as_mteb_does(type(task)) or before is not RetrievalDatasetLoader:
        yield
        return
    retrieval.RetrievalDatasetLoader = PackedLoader
    try:
        yield
    finally:
        retrieval.RetrievalDatasetLoader = before


def _loads_as_mteb_does(kind: type[AbsTaskRetrieval]) -> bool:
    names = ("load_data", "dataset_transform", "convert_v1_dataset_format_to_v2")
    return all(getattr(kind, name) is getattr(AbsTaskRetrieval, name) for name in names)


class PackedLoader(RetrievalDatasetLoader):
    """mteb's loader, which packs what mteb makes dictionaries of."""

    _stops = False

    def _load_dataset_split(self, config: str, num_proc: int | None) -> Dataset:
        data = super()._load_dataset_split(config, num_proc)
        if self._stops:
            raise _LoadedError(data)
        return data

    def _load_qrels(self, num_proc: int | None) -> Any:
        data = self._found(super()._load_qrels, num_proc)
        types = {"query-id": "string", "corpus-id": "string", "score": "int32"}
        table = _table(data, {name: Value(kind) for name, kind in types.items()})
        return _judgements(table) or super()._load_qrels(num_proc)

    def _load_top_ranked(self, num_proc: int | None) -> Any:
        data = self._found(super()._load_top_ranked, num_proc)
        types = {"query-id": Value("string"), "corpus-ids": Sequence(Value("string"))}
        return _candidates(_table(data, types)) or super()._load_top_ranked(num_proc)

    def _found(self, load: Any, num_proc: int | None) -> Dataset:
        """The data set that mteb would load, by its own rules for where it is."""
        self._stops = True
        try:
            load(num_proc)
        except _LoadedError as loaded:
            return loaded.data
        finally:
            self._stops = False
        raise AssertionError("mteb's loader loads a data set")


class _LoadedError(Exception):
    """Ends mteb's loading before it makes dictionaries."""

    def __init__(self, data: Dataset) -> None:
        super().__init__()
        self.data = data


def _table(data: Dataset, types: dict[str, Any]) -> pa.Table:
    """Columns cast as mteb casts them."""
    return data.select_columns([*types]).cast(Features(types)).with_format("arrow")[:]


def _judgements(table: pa.Table) -> Judgements | None:
    """By query in order of first use, or None where one judges a document twice."""
    queries, codes = encoded(table["query-id"])
    order = np.argsort(codes, kind="stable")
    documents = table["corpus-id"].take(pa.array(order))
    _, judged = encoded(documents)
    pairs = codes[order].astype(np.int64) * (int(judged.max(initial=0)) + 1) + judged
    if len(np.unique(pairs)) < len(pairs):
        return None
    sizes, scores = np.bincount(codes, minlength=len(queries)), table["score"].to_numpy()
    return Judgements.of_items(queries, sizes, documents, scores[order].astype(np.int64))


def _candidates(table: pa.Table) -> Candidates | None:
    """In order, or None where a query comes twice or has a null for its candidates."""
    queries, codes = encoded(table["query-id"])
    lists = table["corpus-ids"]
    if len(queries) < len(codes) or lists.null_count:
        return None
    sizes = pc.list_value_length(lists).to_numpy().astype(np.int64)
    names = pa.chunked_array([chunk.flatten() for chunk in lists.chunks], lists.type.value_type)
    return Candidates.of_items(queries, sizes, names)
