"""Task bundles: a loaded task's data as Arrow tables, and the task made of them again.

`task.dataset` is a tree whose shape depends on the kind of task: subsets, splits, and for
retrieval a corpus, queries, judgements and candidates. `freeze` writes its shape as JSON and its
leaves as tables; `thaw` builds the same tree without the network and without a datasets cache.

Judgements and candidates are stored as codes, each distinct list once.
"""

from __future__ import annotations

import functools
import hashlib
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from shlex import quote
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset, DatasetDict, LargeList, List, Value
from datasets.table import InMemoryTable
from mteb.abstasks import AbsTask, AbsTaskRetrieval

from actstore.errors import CorruptShardError, InvalidInputError
from actstore.evaluate.collection.digests import table_digest
from actstore.evaluate.fast.ranking.lists import Candidates, Judgements, PackedLists
from actstore.evaluate.suites import catalogue
from actstore.store import Json
from actstore.store.records.documents import having, is_table, is_text

_PACKED: dict[str, type[PackedLists[Any]]] = {"relevant_docs": Judgements, "top_ranked": Candidates}
"""Parts of a retrieval task's data that are stored packed."""
_NOT_DATA = {"dataset", "data_loaded", "seed", "rng_state", "np_rng", "hf_subsets", "_eval_splits"}


@dataclass(frozen=True)
class FrozenData:
    """A task's data, ready to be stored."""

    shape: dict[str, Json]
    """`data`: the tree with tables at its leaves; `attributes`: what else loading set."""
    tables: dict[str, pa.Table]
    judgements: dict[str, Judgements] = field(default_factory=dict)
    """By the name of their first table."""

    def digest(self) -> str:
        """Identifies the data. The order of judged queries, in mteb random, is no part of it."""
        digest = hashlib.sha256()
        ordered = {name: one.sorted().tables() for name, one in self.judgements.items()}
        for name, table in self.tables.items():
            leaf, _, part = name.partition(_PART)
            digest.update(name.encode())
            digest.update(table_digest(ordered[leaf][part] if leaf in ordered else table))
        return digest.hexdigest()[:32]


def freeze(task: AbsTask) -> FrozenData:
    """The data of a loaded task, after its own dataset_transform.

    Raises InvalidInputError for a task that keeps its data in a way this does not know, and for a
    reranking task without candidates: that is what `datasets` makes of one when it is offline.
    """
    if isinstance(task, AbsTaskRetrieval):
        task.convert_v1_dataset_format_to_v2(num_proc=None)
    if task.metadata.type in ("Reranking", "InstructionReranking"):
        _require_candidates(task)
    _require_unused_generators(task)
    freezer = _Freezer(task.metadata.name)
    shape = {"data": freezer.node(task.dataset, ()), "attributes": _attributes(task)}
    return FrozenData(shape, freezer.tables, freezer.judgements)


def thaw(
    name: str,
    shape: Mapping[str, Any],
    table: Callable[[str], pa.Table],
    splits: Sequence[str],
    subsets: Sequence[str],
    *,
    packed: bool = False,
) -> AbsTask:
    """A fresh task with its data assigned, ready to evaluate.

    shape: of the frozen data. table: gives a table by its name. splits, subsets: those to run.
    packed: leave judgements and candidates as the mappings they are stored as, in a fraction of
    the memory; they read like mteb's dictionaries. Raises InvalidInputError for a shape of another
    version of actstore.
    """
    task = catalogue.new_task(name, splits, subsets)
    try:
        _require_attributes(task, shape["attributes"])
        data = _Thawer(name, table, packed).node(shape["data"])
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        pa.ArrowException,
    ) as error:
        raise CorruptShardError(
            f"The data of the task {name} are damaged: {error!r}. Collect it again: actstore "
            f"collect STORE --suite {quote(name)}"
        ) from error
    for attribute, value in shape["attributes"].items():
        setattr(task, attribute, value)
    task.dataset = data
    task.data_loaded = True
    return task


@functools.cache
def versions() -> dict[str, Json]:
    """The versions of what loads and scores a task."""
    return {name: version(name) for name in ("mteb", "datasets", "scikit-learn", "numpy")}


IS_SHAPE = having({"attributes": is_table, "data": is_table})
"""Of frozen data, as the manifest of a task has it."""
IS_VERSIONS = having({"mteb": is_text})
_PART = "--"
"""Between the name of a leaf and the parts it is stored in."""


class _Freezer:
    """Walks a task's data, collecting tables."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.tables: dict[str, pa.Table] = {}
        self.judgements: dict[str, Judgements] = {}

    def node(self, value: Any, path: tuple[str, ...]) -> Json:
        if value is None:
            return {"kind": "none"}
        if isinstance(value, Dataset):
            return self.leaf("dataset", path, _arrow(value))
        if isinstance(value, Mapping):
            return self.mapping(value, path)
        if isinstance(value, list) and all(isinstance(row, Mapping) for row in value):
            return self.leaf("rows", path, pa.Table.from_pylist([_plain(row) for row in value]))
        raise InvalidInputError(
            f"{self.task} keeps {'.'.join(path)} as {type(value).__name__}, which cannot be "
            "frozen into a store. Tasks with data sets, dicts of them and lists of rows can."
        )

    def mapping(self, value: Mapping[str, Any], path: tuple[str, ...]) -> Json:
        if path and path[-1] in _PACKED:
            return self.lists(_PACKED[path[-1]].pack(value), path)
        kind = "datasets" if isinstance(value, DatasetDict) else "dict"
        # A list of pairs: JSON objects are stored with sorted keys.
        items: list[Json] = [[str(k), self.node(v, (*path, str(k)))] for k, v in value.items()]
        return {"kind": kind, "items": items}

    def lists(self, value: PackedLists[Any], path: tuple[str, ...]) -> Json:
        name = self.name(path)
        tables = value.tables()
        self.tables.update({f"{name}{_PART}{part}": table for part, table in tables.items()})
        if isinstance(value, Judgements):
            self.judgements[name] = value
        parts: list[Json] = [*tables]
        return {"kind": path[-1], "table": name, "parts": parts}

    def leaf(self, kind: str, path: tuple[str, ...], table: pa.Table) -> Json:
        name = self.name(path)
        self.tables[name] = table
        return {"kind": kind, "table": name}

    def name(self, path: tuple[str, ...]) -> str:
        readable = re.sub(r"[^\w.-]", "_", ".".join(path) or "data").replace(_PART, "_")
        return f"{len(self.tables):03d}-{readable}"


@dataclass(frozen=True)
class _Thawer:
    """Builds a task's data of its tables."""

    task: str
    table: Callable[[str], pa.Table]
    packed: bool

    def node(self, node: Any) -> Any:
        match node["kind"]:
            case "none":
                return None
            case "dict" | "datasets" as kind:
                items = {key: self.node(item) for key, item in node["items"]}
                return DatasetDict(items) if kind == "datasets" else items
            case "dataset":
                return _dataset(self.table(node["table"]))
            case "rows":
                return self.table(node["table"]).to_pylist()
            case kind if kind in _PACKED:
                tables = {part: self.table(node["table"] + _PART + part) for part in node["parts"]}
                lists = _PACKED[kind].from_tables(tables)
                return lists if self.packed else lists.plain()
        raise InvalidInputError(
            f"{self.task} was collected by another version of actstore, which stored its "
            f"{node['kind']} in a way that this one does not read. Collect it again: actstore "
            f"collect STORE --suite {quote(self.task)}"
        )


def _require_attributes(task: AbsTask, attributes: Mapping[str, Any]) -> None:
    """Raise ValueError for an attribute that is no plain value, or takes the place of code."""
    for name, value in attributes.items():
        plain = isinstance(value, (str, int, float, bool, type(None)))
        own = getattr(type(task), name, None)
        code = name.startswith("__") or callable(own) or isinstance(own, property)
        if code or not plain or not name.isidentifier():
            raise ValueError(f"the attribute {name!r} cannot be {value!r}")


def _arrow(data: Dataset) -> pa.Table:
    """A data set's rows with its features (class names, nested lists) in the schema's metadata."""
    table: pa.Table = data.with_format("arrow")[:]
    return table.replace_schema_metadata(data.features.arrow_schema.metadata)


def _dataset(table: pa.Table) -> Dataset:
    data = Dataset(InMemoryTable(table), fingerprint=table_digest(table).hex()[:16])
    _require_text_and_numbers(data.features)
    return data


def _require_text_and_numbers(feature: Any) -> None:
    """Raise ValueError for features that open files or addresses as they are read (images, …)."""
    if isinstance(feature, Mapping):
        for one in feature.values():
            _require_text_and_numbers(one)
    elif isinstance(feature, list | tuple):
        for one in feature:
            _require_text_and_numbers(one)
    elif isinstance(feature, List | LargeList):
        _require_text_and_numbers(feature.feature)
    elif not isinstance(feature, Value | ClassLabel):
        raise ValueError(f"a column of {type(feature).__name__} is not read from a store")


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with lazy columns of `datasets` read into lists."""
    return {k: v if isinstance(v, (str, int, float)) else list(v) for k, v in row.items()}


def _attributes(task: AbsTask) -> dict[str, Json]:
    """What loading set on the task besides its data: plain values are kept, others refused."""
    fresh = vars(catalogue.new_task(task.metadata.name))
    changed = {
        name: value
        for name, value in vars(task).items()
        if name not in _NOT_DATA and (name not in fresh or fresh[name] != value)
    }
    for name, value in changed.items():
        if not isinstance(value, (str, int, float, bool, type(None))):
            raise InvalidInputError(
                f"{task.metadata.name} sets {name} ({type(value).__name__}) while it loads its "
                "data; only plain values can be frozen into a store."
            )
    return changed


def _require_candidates(task: AbsTask) -> None:
    without = [
        f"{subset} {split}"
        for subset, splits in task.dataset.items()
        for split, data in splits.items()
        if not data.get("top_ranked")
    ]
    if without:
        raise InvalidInputError(
            f"{task.metadata.name} reranks given candidates, but its data came without them "
            f"({', '.join(without)}): it would be scored as full retrieval. The datasets library "
            "loses them when it is offline. Collect on a machine with network and unset "
            "HF_HUB_OFFLINE."
        )


def _require_unused_generators(task: AbsTask) -> None:
    """A task that draws random numbers while it loads would be scored with other ones later."""
    fresh = random.Random(task.seed), np.random.default_rng(task.seed)
    drawn = task.rng_state.getstate() != fresh[0].getstate()
    if drawn or task.np_rng.bit_generator.state != fresh[1].bit_generator.state:
        raise InvalidInputError(
            f"{task.metadata.name} draws from its random generators while it loads its data, so "
            "its scores from a frozen copy would differ. Draw with a seed of its own instead."
        )
