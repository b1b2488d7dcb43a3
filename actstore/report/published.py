"""Scores that others published, read as one table: files of many forms, folders of mteb results."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from actstore.errors import InvalidInputError

_NAMES = {
    "task": ("task", "task_name"),
    "layer": ("layer",),
    "score": ("main_score", "score"),
    "checkpoint": ("checkpoint", "revision"),
    "model": ("model", "model_name"),
    "pooling": ("pooling",),
    "transform": ("transform",),
    "split": ("split",),
    "subset": ("subset", "hf_subset"),
}
"""What columns may be called, the likeliest first."""
_LAYER = re.compile(r"(?:^|__)layer[-_](-?\d+)(?:__|$)")
_BETWEEN = ("mteb", "experiments")
"""Folders between a checkpoint's and a layer's."""
_NO_RESULTS = ("model_meta.json", "actstore-export.json")
_SOME = 8


@dataclass(frozen=True)
class Reading:
    """How a published table is to be read."""

    model: str | None = None
    """Whose scores, as the table calls it; needed where it has several."""
    checkpoint: str | None = None
    """Of all scores in the table, whatever it says; needed where it says nothing."""
    layer: int | None = None
    """Likewise."""
    layer_offset: int = 0
    """Added to its layers: 1 where layer 0 is the first block's output."""
    checkpoint_names: Mapping[str, str] = field(default_factory=dict)
    """Its names of checkpoints -> those in the store."""
    percent: bool = False
    """Its scores go to 100."""


def read_published(source: pd.DataFrame | Path, tasks: Sequence[str]) -> pd.DataFrame:
    """Published scores, one row each, as far as they are there; nothing is renamed or left out.

    source: a table, a file (CSV, TSV, Parquet, JSON lines) or a folder of mteb results. A table has
    one row a score (columns task, layer, main_score, revision: see `_NAMES`), or columns named like
    tasks. tasks: what such columns are looked for by.
    Returned columns: task, score and those of checkpoint, layer, model, pooling, transform, split,
    subset that it has; all strings but for score and layer. Raises InvalidInputError naming the
    columns found.
    """
    if isinstance(source, pd.DataFrame):
        return _named(source, "The table", tasks)
    if source.is_dir():
        return _from_folder(source)
    return _named(_read_file(source), str(source), tasks)


def _read_file(path: Path) -> pd.DataFrame:
    """A file's table, with text columns as they stand: step names may look like numbers."""
    if not path.exists():
        raise InvalidInputError(f"There is no file or folder {path}. Check the path.")
    kind = path.suffix.lower()
    try:
        if kind in (".csv", ".tsv"):
            separator = "," if kind == ".csv" else "\t"
            return pd.read_csv(path, sep=separator, dtype=str, skipinitialspace=True)
        if kind in (".parquet", ".pq"):
            return pd.read_parquet(path)
        if kind in (".jsonl", ".ndjson"):
            lines = path.read_text(encoding="utf-8").splitlines()
            return pd.DataFrame([json.loads(line) for line in lines if line.strip()])
    except ValueError as error:  # of pandas, pyarrow and json alike
        raise InvalidInputError(f"{path} cannot be read as {kind[1:]}: {error}") from error
    raise InvalidInputError(
        f"{path}: published scores are read from .csv, .tsv, .parquet and .jsonl files and from "
        "folders of mteb results. Convert it to one of them."
    )


def _named(table: pd.DataFrame, what: str, tasks: Sequence[str]) -> pd.DataFrame:
    """A table with our column names, long, its numbers read."""
    names = {str(column).strip().lower(): column for column in reversed(table.columns)}
    found = {
        ours: names[theirs]
        for ours, candidates in _NAMES.items()
        for theirs in reversed(candidates)
        if theirs in names
    }
    columns = [str(column) for column in table.columns]
    renamed = pd.DataFrame({ours: table[column] for ours, column in found.items()})
    if "task" not in found:
        wide = {str(c).strip(): table[c] for c in table.columns if str(c).strip() in set(tasks)}
        if not wide:
            raise _columns_error(what, "a column task, or columns named like our tasks", columns)
        places = renamed.drop(columns="score", errors="ignore")
        renamed = pd.concat([places.assign(task=n, score=v) for n, v in wide.items()])
    elif "score" not in found:
        raise _columns_error(what, "a column main_score or score", columns)
    renamed = renamed.reset_index(drop=True)
    for name in renamed.columns.difference(["score", "layer"]):
        renamed[name] = renamed[name].fillna("").astype(str)
    return _with_numbers(renamed, what)


def _with_numbers(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """Scores as floats, without those that are empty, and layers as integers."""
    table = table.assign(score=_numbers(table["score"], "score", what)).dropna(subset="score")
    if "layer" not in table:
        return table
    layers = _numbers(table["layer"], "layer", what)
    odd = layers[layers.isna() | (layers % 1 != 0)]
    if len(odd):
        raise InvalidInputError(
            f"{what} has a layer that is no whole number: {table['layer'][odd.index[0]]}. Give "
            "layers as 0, 1, 2, …"
        )
    return table.assign(layer=layers.astype(int))


def _numbers(column: pd.Series[Any], name: str, what: str) -> pd.Series[float]:
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    odd = column[numbers.isna() & column.notna()]
    if len(odd):
        raise InvalidInputError(
            f"{what} has a {name} that is no number: {odd.iloc[0]!r} in row {odd.index[0]}. Write "
            "it as a plain number, or leave it empty."
        )
    return numbers


def _columns_error(what: str, missing: str, columns: list[str]) -> InvalidInputError:
    more = ", …" if len(columns) > _SOME else ""
    return InvalidInputError(
        f"{what} lacks {missing}. Its columns: {', '.join(columns[:_SOME])}{more}. Rename them: "
        "task, layer, main_score and, of several checkpoints, revision."
    )


def _from_folder(folder: Path) -> pd.DataFrame:
    """The (split, subset) scores of all mteb results below a folder."""
    entries = [
        entry
        for path in sorted(folder.rglob("*.json"))
        if path.name not in _NO_RESULTS
        for entry in _entries(path, _place(folder, path))
    ]
    if not entries:
        raise InvalidInputError(
            f"{folder} holds no mteb results: JSON files with task_name and scores, in folders "
            "named layer_0, layer_1, … or layer_0__pooling_mean."
        )
    table = pd.DataFrame(entries)
    named = table.columns.difference(["score", "layer"])
    return table.fillna(dict.fromkeys(named, "")).dropna(subset="score")


def _entries(path: Path, place: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The main scores in one result file; none if it is something else."""
    try:
        result = json.loads(path.read_bytes())
        splits = result["scores"].items() if "task_name" in result else ()
        for split, found in splits:
            for entry in found:
                names = {"task": result["task_name"], "split": split, "subset": entry["hf_subset"]}
                yield {**place, **names, "score": float(entry["main_score"])}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            f"{path} is no result file that can be read: {type(error).__name__}: {error}. Remove "
            "it from the folder."
        ) from error


def _place(folder: Path, path: Path) -> dict[str, Any]:
    """What a result is of: by what mteb wrote beside it, else by the names of its folders.

    `…/<model>/<checkpoint>/[mteb/|experiments/]layer_3/<Task>.json`
    """
    parts = [folder.resolve().name, *path.relative_to(folder).parts[:-1]]
    layers = [i for i, part in enumerate(parts) if _LAYER.search(part)]
    known = _beside(path.parent)
    if not layers:
        return known
    match = _LAYER.search(parts[layers[-1]])
    above = [part for part in parts[: layers[-1]] if part not in _BETWEEN]
    by_name = {"layer": int(match[1])} if match else {}
    names = dict(zip(("checkpoint", "model"), reversed(above), strict=False))
    if "model" in names:
        names["model"] = names["model"].replace("__", "/")
    return {**names, **by_name, **known}


def _beside(folder: Path) -> dict[str, Any]:
    """Model, checkpoint, layer, pooling and transform, where model_meta.json has the layer."""
    try:
        meta = json.loads((folder / "model_meta.json").read_bytes())
        experiment = meta["experiment_kwargs"]
        place = {"layer": int(experiment["layer"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    names = {"model": meta.get("name"), "checkpoint": meta.get("revision")}
    states = {"pooling": experiment.get("pooling"), "transform": experiment.get("transform", "")}
    return {key: v for key, v in {**place, **names, **states}.items() if v is not None}
