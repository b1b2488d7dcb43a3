"""The journals of scores and of evaluations that failed, read as tables.

A score is a short line; its leaves, up to a hundred numbers, stand in a journal of their own, so
that reading main scores need not read them. Both lines have the same time and key; the leaves are
written first, so that a score always has its own.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.json as pj
import xxhash

from actstore.errors import CorruptShardError
from actstore.refs import look_up
from actstore.store.records.documents import (
    Fields,
    is_finite,
    is_number,
    is_text,
    is_whole,
    parse,
    table_of,
    wrong_field,
)
from actstore.store.records.journal import (
    Json,
    append_records,
    journals,
    read_records,
    require_objects,
)
from actstore.store.records.sealing import read_sealed_json, sealed_json
from actstore.store.results.records import EvaluationFailure, ScoreRecord, in_training_order
from actstore.store.storage import Storage, join

_SCORES = "scores/journal"
_LEAVES = "scores/leaves"
_FAILURES = "scores/failures"
ENVIRONMENTS = "scores/environments"

UNIT = ["model", "checkpoint", "layer", "pooling", "transform"]
"""What a score is of, besides the data."""
SCORE_KEY = [*UNIT, "task", "split", "subset"]
_TYPES = pa.schema(
    {
        "at": pa.float64(),
        "model": pa.string(),
        "checkpoint": pa.string(),
        "layer": pa.int64(),
        "pooling": pa.string(),
        "transform": pa.string(),
        "task": pa.string(),
        "task_type": pa.string(),
        "split": pa.string(),
        "subset": pa.string(),
        "main_score": pa.float64(),
        "in_average": pa.bool_(),
        "evaluation_seconds": pa.float64(),
        "mteb_version": pa.string(),
        "inputs_digest": pa.string(),
        "environment": pa.string(),
    }
)
_PARSE = pj.ParseOptions(
    explicit_schema=_TYPES,
    unexpected_field_behavior="ignore",
)
_READ = pj.ReadOptions(use_threads=False, block_size=1 << 24)
_FAILURE_KEY = [*UNIT, "task"]
_MUST = ("at", *SCORE_KEY, "task_type", "in_average")
"""What no line of scores may lack."""
_LEAF_FIELDS: Fields = {
    "at": is_finite,
    **dict.fromkeys(SCORE_KEY, is_text),
    "layer": is_whole,
    "scores": table_of(is_number),
}
_FAILURE_FIELDS: Fields = {
    **dict.fromkeys((*_FAILURE_KEY, "error", "traceback"), is_text),
    "layer": is_whole,
}


def record_scores(storage: Storage, records: Sequence[ScoreRecord]) -> None:
    """Add scores; durable when the call returns."""
    at, scores, leaves = time.time(), [], []
    for record in records:
        line = {"at": at, **asdict(record)}
        line["environment"] = _keep_environment(storage, record.environment)
        leaves.append({name: line[name] for name in ("at", *SCORE_KEY, "scores")})
        scores.append({name: value for name, value in line.items() if name != "scores"})
    append_records(storage, _LEAVES, leaves)
    append_records(storage, _SCORES, scores)


def score_table(storage: Storage) -> pd.DataFrame:
    """One row a scored unit and subset, the latest where it was scored again.

    Columns: model, checkpoint, step, layer, pooling, transform, task, task_type, split, subset,
    main_score, in_average, evaluation_seconds, mteb_version, inputs_digest, environment (a key of
    `score_environments`).
    """
    return _score_rows(storage).drop(columns="at")


def score_leaves(storage: Storage, task: str) -> pd.DataFrame:
    """All scalar scores of one task, a column each, behind model, checkpoint, step, … and subset.

    Raises UnknownNameError for a task without scores.
    """
    rows = _score_rows(storage)
    known = sorted(rows["task"].unique())
    look_up("scored task in this store", task, known, f"List: actstore scores {storage.url}")
    place = ["at", *SCORE_KEY]
    records = list(_leaf_records(storage, task))
    found = pd.DataFrame(records, columns=None if records else place)
    rows = rows.loc[rows["task"] == task, [*SCORE_KEY, "at", "step"]]
    table = rows.merge(found.drop_duplicates(place, keep="last"), on=place, how="left")
    return table.drop(columns="at")


def score_environments(storage: Storage) -> dict[str, dict[str, Any]]:
    """What scores were computed in, by what the column `environment` of the score table says."""
    names = [name for name in storage.names(ENVIRONMENTS) if name.endswith(".json")]
    return {
        name.removesuffix(".json"): read_sealed_json(storage, join(ENVIRONMENTS, name))
        for name in names
    }


def record_failures(storage: Storage, failures: Sequence[EvaluationFailure]) -> None:
    """Add evaluations that failed; durable when the call returns."""
    append_records(storage, _FAILURES, [asdict(failure) for failure in failures])


def failure_table(storage: Storage) -> pd.DataFrame:
    """Evaluations that failed and were not scored since: the latest failure of each.

    Columns: model, checkpoint, step, layer, pooling, transform, task, error, traceback, at (seconds
    since 1970).
    """
    columns = ["model", "checkpoint", "step", "layer", "pooling", "transform", "task"]
    columns += ["error", "traceback", "at"]
    records = read_records(storage, _FAILURES, _FAILURE_FIELDS)
    if not records:
        return pd.DataFrame(columns=columns)
    failed = pd.DataFrame(records).drop_duplicates(_FAILURE_KEY, keep="last")
    scored = _score_rows(storage).groupby(_FAILURE_KEY)["at"].max().rename("scored_at")
    failed = failed.merge(scored.reset_index(), on=_FAILURE_KEY, how="left")
    left = failed[~(failed["scored_at"] > failed["at"])]
    return in_training_order(left, _FAILURE_KEY)[columns]


def _score_rows(storage: Storage) -> pd.DataFrame:
    """The score table and, first, the time of each row, `at`."""
    tables = [_parsed(key, data) for key, data in _journals(storage, _SCORES)]
    table: pd.DataFrame = pa.concat_tables([_TYPES.empty_table(), *tables]).to_pandas()
    table = table.sort_values("at", kind="stable").drop_duplicates(SCORE_KEY, keep="last")
    table = in_training_order(table, SCORE_KEY)
    table.insert(3, "step", table.pop("step"))
    return table


def _journals(storage: Storage, folder: str) -> Iterator[tuple[str, bytes]]:
    """As `journals`, with what to do about a damaged one."""
    try:
        yield from journals(storage, folder)
    except CorruptShardError as error:
        raise _damaged(folder, error) from error


def _parsed(key: str, data: bytes) -> pa.Table:
    """Lines as a table."""
    try:
        require_objects(data)
        table = pj.read_json(io.BytesIO(data), read_options=_READ, parse_options=_PARSE)
    except (pa.ArrowException, ValueError) as error:
        raise _damaged(key, error) from error
    for name in _MUST:
        if table[name].null_count:
            raise _damaged(key, f"a line of it has no {name!r}")
    return table.select(_TYPES.names)


def _leaf_records(storage: Storage, task: str) -> Iterator[dict[str, Any]]:
    """Key, time and leaves of every line about a task."""
    named = json.dumps({"task": task})[1:-1].encode()
    for key, data in _journals(storage, _LEAVES):
        for line in _lines_with(named, data):
            yield _leaf_record(key, line)


def _lines_with(word: bytes, data: bytes) -> Iterator[bytes]:
    """The lines that hold a word; the others are never copied."""
    place = data.find(word)
    while place >= 0:
        end = data.index(b"\n", place)
        yield data[data.rfind(b"\n", 0, place) + 1 : end]
        place = data.find(word, end)


def _leaf_record(key: str, line: bytes) -> dict[str, Any]:
    try:
        record = parse(line)
    except (ValueError, RecursionError) as error:
        raise _damaged(key, error) from error
    if what := wrong_field(record, _LEAF_FIELDS):
        raise _damaged(key, what)
    return {**{name: record[name] for name in ("at", *SCORE_KEY)}, **record["scores"]}


def _damaged(key: str, error: object) -> CorruptShardError:
    return CorruptShardError(
        f"{key} is damaged: {error}. Restore it from a copy, or remove the damaged lines with "
        "actstore verify STORE --repair: the scores that only they record are then computed again "
        "by actstore eval."
    )


def _keep_environment(storage: Storage, environment: Mapping[str, Json]) -> str:
    """Keep an environment once and return its digest; empty for none."""
    if not environment:
        return ""
    data = json.dumps(environment, sort_keys=True, indent=1).encode()
    digest = xxhash.xxh3_128_hexdigest(data)
    key = join(ENVIRONMENTS, f"{digest}.json")
    if not storage.exists(key):
        with suppress(FileExistsError):
            storage.create(key, sealed_json(key, environment))
    return digest
