"""Scores as files: CSV and Parquet tables, and folders that mteb's own tools read."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from actstore import __version__
from actstore.errors import InvalidInputError
from actstore.progress import progress
from actstore.refs import checkpoint_key, look_up, model_key
from actstore.selection import select_checkpoints
from actstore.store.results.records import MTEB_RESULTS
from actstore.store.storage import LocalStorage, each, join
from actstore.store.store import Store

SCORE_TABLES: dict[str, Callable[[Store, str | None], pd.DataFrame]] = {
    "subset": lambda store, suite: _of_tasks(store.scores(), store, suite),
    "task": lambda store, suite: store.task_scores(suite),
    "type": lambda store, suite: store.type_scores(suite),
    "suite": lambda store, suite: store.suite_scores(suite),
    "layer": lambda store, suite: store.best_layers(suite),
}
"""What a score table has one row for. `layer`: the best one of each checkpoint."""
_BEGINNINGS = (["model", "checkpoint", "step"], ["checkpoint", "step", "layer"])
"""The first columns of these tables, and of a comparison's."""
_MANIFEST = "actstore-export.json"
_BESIDE = ("model_meta.json", "run_settings.jsonl")
"""What mteb keeps beside results and reads with them."""
_SOME = 3


@dataclass(frozen=True)
class ScoreQuery:
    """Which scores, as which table."""

    by: str = "subset"
    """One of SCORE_TABLES."""
    suite: str | None = None
    """A collected suite, or tasks separated by commas; None: all scored tasks."""
    model: str | None = None
    """None: all."""
    checkpoints: tuple[str, ...] = ()
    """Names, globs, ranges, `last:50`, presets; empty: all."""


def select_scores(store: Store, query: ScoreQuery) -> pd.DataFrame:
    """A table of scores.

    Raises UnknownNameError, and InvalidInputError where nothing of what is asked for is scored.
    """
    look_up("score table", query.by, [*SCORE_TABLES], "Write for instance: --by task")
    table = SCORE_TABLES[query.by](store, query.suite)
    if query.model is not None:
        known = sorted(store.scores()["model"].unique())
        look_up("model with scores", query.model, known, f"List: actstore info {store.url}")
        table = table[table["model"] == query.model]
    if query.checkpoints:
        found = [str(name) for name in table["checkpoint"].unique()]
        chosen = select_checkpoints(query.checkpoints, lambda: found, stored=True)
        table = table[table["checkpoint"].isin(chosen)]
    if table.empty:
        raise InvalidInputError(
            f"{store.url} has no scores of that. Run first: actstore eval {store.url} --suite "
            f"{query.suite or '…'}"
        )
    return table.reset_index(drop=True)


def export_scores(store: Store, out: Path, query: ScoreQuery) -> list[Path]:
    """Write scores and say what was written.

    out: a `.csv` or `.parquet` file gets a table; a folder gets mteb's own result files of the same
    tasks, models and checkpoints, as `mteb.ResultCache(folder)` reads them. What an earlier export
    wrote is replaced.
    Raises what `select_scores` raises, and InvalidInputError for files of others in the way,
    before anything is written.
    """
    if out.suffix in (".csv", ".parquet"):
        return [write_table(select_scores(store, query), out)]
    if query.by != "subset" or (out.suffix and not out.is_dir()):
        raise InvalidInputError(
            f"{out}: a name ending in .csv or .parquet gets a table (--by), a folder gets mteb's "
            "own result files."
        )
    return _export_results(store, out, select_scores(store, query))


def write_table(table: pd.DataFrame, out: Path) -> Path:
    """Write a table of scores or of a comparison to a `.csv` or `.parquet` file, whole or not.

    Raises InvalidInputError for a file of that name that is no score table.
    """
    if out.exists() and _columns(out)[:3] not in _BEGINNINGS:
        raise InvalidInputError(
            f"{out} is there and is not a score table of actstore. Delete it or give another name."
        )
    if out.suffix == ".csv":
        data = table.to_csv(index=False).encode()
    else:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), sink)
        data = sink.getvalue().to_pybytes()
    LocalStorage(out.absolute().parent).replace(out.name, data)
    return out


def _of_tasks(scores: pd.DataFrame, store: Store, suite: str | None) -> pd.DataFrame:
    if suite is None:
        return scores
    return scores[scores["task"].isin(store.task_scores(suite)["task"].unique())]


def _columns(path: Path) -> list[str]:
    """Column names of a CSV or Parquet file; none for anything else."""
    try:
        if path.suffix == ".parquet":
            return list(pq.read_schema(path).names)
        with path.open(newline="", encoding="utf-8") as file:
            return next(csv.reader(file), [])
    except (OSError, ValueError, csv.Error):
        return []


def _export_results(store: Store, folder: Path, scores: pd.DataFrame) -> list[Path]:
    files = dict(_result_files(store, scores))
    if not files:
        raise InvalidInputError(
            f"{store.url} has no result files of these scores. Evaluate again with "
            "--overwrite, or export a table: --out scores.csv"
        )
    written = _manifest(folder)
    _refuse_foreign(store, folder, files, written)
    with progress("Exporting", len(files), "files") as advance:

        def export(place: str) -> str:
            data = store.storage.read(files[place])
            _write_whole(folder / place, data)
            advance(1)
            return _digest(data)

        written |= zip(files, each(store.storage, export, files), strict=True)
    manifest = {"made_by": f"actstore {__version__}", "files": written}
    _write_whole(folder / _MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())
    return [folder / place for place in files]


def _result_files(store: Store, scores: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Place in an mteb cache, and key, of every result of some scores and what is beside it."""
    for (model, checkpoint), part in scores.groupby(["model", "checkpoint"], sort=False):
        tasks = {f"{task}.json" for task in part["task"]}
        for key in (model_key(str(model)), f"local__{model_key(str(model))}"):
            experiments = join("results", key, checkpoint_key(str(checkpoint)), "experiments")
            for folder, names in _folders(store, join(MTEB_RESULTS, experiments)):
                if names & tasks:
                    for name in sorted(names & {*tasks, *_BESIDE}):
                        place = join(experiments, folder, name)
                        yield place, join(MTEB_RESULTS, place)


def _folders(store: Store, prefix: str) -> list[tuple[str, set[str]]]:
    """What is right below the groups below a prefix, by group."""
    found: dict[str, set[str]] = {}
    for one in store.storage.objects(prefix):
        folder, _, name = one.key.removeprefix(f"{prefix}/").partition("/")
        found.setdefault(folder, set()).add(name)
    return sorted(found.items())


def _manifest(folder: Path) -> dict[str, str]:
    """The files that earlier exports wrote to a folder, and their digests."""
    path = folder / _MANIFEST
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text())["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(
            f"{path} cannot be read: {error}. Delete the folder or give another."
        ) from error


def _refuse_foreign(
    store: Store, folder: Path, files: dict[str, str], written: dict[str, str]
) -> None:
    """Raise for files that are neither what an earlier export left nor what would be written."""
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"{folder} is a file. Give a folder, or a name ending in .csv.")
    foreign = [
        place
        for place, key in files.items()
        if (folder / place).exists()
        and (there := _digest((folder / place).read_bytes())) != written.get(place)
        and there != _digest(store.storage.read(key))
    ]
    if foreign:
        more = f" and {len(foreign) - _SOME} more" if len(foreign) > _SOME else ""
        raise InvalidInputError(
            f"{folder} has results of others: {', '.join(foreign[:_SOME])}{more}. Give another "
            "folder, or delete these files."
        )


def _digest(data: bytes) -> str:
    return xxhash.xxh3_128_hexdigest(data)


def _write_whole(path: Path, data: bytes) -> None:
    """Not flushed, as stores are: an export can be made again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(data)
    partial.replace(path)
