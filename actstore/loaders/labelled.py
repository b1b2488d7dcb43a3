"""Texts with labels: of a frozen task or a table of the user's, and how they are split."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from actstore.errors import InvalidInputError
from actstore.loaders.likeness import groups_of
from actstore.loaders.order import Ints
from actstore.refs import look_up
from actstore.store import Store, TaskBundle

_TRAIN = "train"
_TYPE = "Classification"
_TEST_FOLDS = 5
"""One of so many is the test part where there is no other split."""

Fold = tuple[Ints, Ints]


@dataclass(frozen=True)
class LabelledTexts:
    """Texts of a store with a label each. No group has texts in both `train` and `test`."""

    rows: Ints
    """(n,): their rows in the store; a text may come several times."""
    y: NDArray[Any]
    """(n,): their labels."""
    groups: Ints
    """(n,): the same number for texts that must not be parted."""
    train: Ints
    """Places in `rows` to fit on."""
    test: Ints
    """Places in `rows` to score on."""
    classes: tuple[str, ...] = ()
    """Names of the labels 0, 1, …, where the task has them."""
    left_out: Mapping[str, int] | None = None
    """How many texts of the task are in neither part, by the reason."""

    def folds(self, n: int = 5, seed: int = 0) -> list[Fold]:
        """Places to fit and to score on, n times, over all texts, no group on both sides.

        For `cross_val_score(…, cv=…)`. Labels are spread evenly as far as groups allow; float
        labels are not. Raises InvalidInputError for fewer groups than folds.
        """
        return folds_of(self.y, self.groups, n, seed)


def task_texts(
    store: Store, task: str, *, subset: str | None = None, split: str | None = None
) -> LabelledTexts:
    """The texts of a frozen classification task: its own training and test texts.

    Left out, and counted, are training texts that mteb never draws, which were not collected, and
    those with their like among the test texts. subset, split: may be left out where the task has
    one. Raises UnknownNameError, InvalidInputError for a task of another type.
    """
    bundle = store.task(task)
    data, split = _scored(bundle, subset, split)
    parts = {_TRAIN: _table(bundle, data, _TRAIN), split: _table(bundle, data, split)}
    frame = pd.concat([part.assign(part=name) for name, part in parts.items()], ignore_index=True)
    known = bundle.rows()
    rows = dict(zip(store.read_texts(known), known.tolist(), strict=True))
    frame["row"] = frame["text"].map(rows)
    _require_scored(store, frame[(frame["part"] == split) & (frame["text"] != "")], task)
    kept = frame.dropna(subset="row").astype({"row": np.int64}).reset_index(drop=True)
    groups = groups_of(store, kept["row"].to_numpy())
    test = np.flatnonzero(kept["part"] == split)
    train = np.flatnonzero(kept["part"] == _TRAIN)
    apart = ~np.isin(groups[train], groups[test])
    left_out = {
        "empty, or never drawn for training": len(frame) - len(kept),
        "for training, with their like among the test texts": int((~apart).sum()),
    }
    row, y = kept["row"].to_numpy(), kept["label"].to_numpy()
    classes = _class_names(bundle, data, split)
    return LabelledTexts(row, y, groups, train[apart], test, classes, left_out)


def labelled_texts(store: Store, labels: pd.DataFrame, *, seed: int = 0) -> LabelledTexts:
    """The texts of a table: columns `row` or `text`, `label`, and `group` if there are such.

    A fifth of the texts, by whole groups, is the test part. Raises InvalidInputError for a table
    without these columns or with missing values, UnknownTextError for texts that the store has not.
    """
    place = next((name for name in ("row", "text") if name in labels), None)
    if place is None or "label" not in labels:
        raise InvalidInputError(
            f"Labels need the columns row or text, and label; the table has "
            f"{', '.join(map(str, labels.columns)) or 'none'}."
        )
    if (missing := int(labels[[place, "label"]].isna().any(axis=1).sum())) or labels.empty:
        raise InvalidInputError(
            f"{missing} of {len(labels)} lines have no {place} or label. Drop them first."
        )
    given = labels[place].tolist()
    rows = store.rows_of(given) if place == "text" else np.asarray(given, np.int64)
    groups = groups_of(store, rows, labels["group"].tolist() if "group" in labels else None)
    y = labels["label"].to_numpy()
    train, test = folds_of(y, groups, _TEST_FOLDS, seed)[0]
    return LabelledTexts(rows, y, groups, train, test)


def folds_of(y: NDArray[Any], groups: Ints, n: int, seed: int) -> list[Fold]:
    """See `LabelledTexts.folds`."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    n_groups = len(np.unique(groups))
    if n_groups < n:
        raise InvalidInputError(
            f"{len(groups)} texts in {n_groups} groups cannot be split into {n} folds: ask for "
            "fewer, or give coarser labels of groups."
        )
    kind = GroupKFold if y.dtype.kind == "f" else StratifiedGroupKFold
    splitter = kind(n, shuffle=True, random_state=seed)
    return list(splitter.split(np.empty((len(y), 0)), y, groups))


def _scored(bundle: TaskBundle, subset: str | None, split: str | None) -> tuple[Any, str]:
    """The part of the task's data that holds its splits, and the split that is scored."""
    if bundle.manifest["type"] != _TYPE:
        raise InvalidInputError(
            f"{bundle.name} is of type {bundle.manifest['type']}: only {_TYPE} tasks give each "
            "text one label. Give a table with the columns text and label instead."
        )
    selected = bundle.manifest["selection"]
    subset = _only(bundle, "subset", subset, selected["subsets"])
    data = bundle.manifest["shape"]["data"]
    if data["kind"] != "datasets":
        data = dict(data["items"])[subset]
    return data, _only(bundle, "split", split, selected["splits"])


def _only(bundle: TaskBundle, kind: str, asked: str | None, known: list[str]) -> str:
    if asked is None and len(known) > 1:
        raise InvalidInputError(
            f"{bundle.name} has {len(known)} {kind}s: {', '.join(known)}. Say which: {kind}=…"
        )
    return look_up(f"{kind} of {bundle.name}", known[0] if asked is None else asked, known, "")


def _leaf(bundle: TaskBundle, data: Any, split: str) -> pa.Table:
    tables = {name: node["table"] for name, node in data["items"] if node["kind"] == "dataset"}
    look_up(f"split of {bundle.name}", split, [*tables], "Give a table of labels instead.")
    table = bundle.table(tables[split])
    if not {"text", "label"} <= set(table.schema.names):
        raise InvalidInputError(
            f"{bundle.name} has the columns {', '.join(table.schema.names)}, no text and label. "
            "Give a table with these."
        )
    return table


def _table(bundle: TaskBundle, data: Any, split: str) -> pd.DataFrame:
    frame: pd.DataFrame = _leaf(bundle, data, split).select(["text", "label"]).to_pandas()
    return frame


def _class_names(bundle: TaskBundle, data: Any, split: str) -> tuple[str, ...]:
    """As the `datasets` library keeps them in a table's metadata."""
    metadata = _leaf(bundle, data, split).schema.metadata or {}
    told = json.loads(metadata.get(b"huggingface", b"{}"))
    label = told.get("info", {}).get("features", {}).get("label", {})
    return tuple(label.get("names", ()))


def _require_scored(store: Store, scored: pd.DataFrame, task: str) -> None:
    if without := int(scored["row"].isna().sum()):
        raise InvalidInputError(
            f"{without} of {len(scored)} texts that {task} scores are not what it encodes: mteb "
            "changes them first. Give a table with the columns row and label: see "
            f"actstore.open_store({store.url!r}).texts({task!r})"
        )
