"""Readers of a store that somebody else made: an answer or an error of ours, whatever is in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from actstore.errors import ActstoreError
from actstore.store import Store, open_store
from tests.safety.altered import (
    AlteredStorage,
    journal_of,
    parquet,
    records_of,
    resealed,
    sealed_like,
    sealed_parquet,
    told,
)
from tests.safety.asking import ask
from tests.safety.conftest import Fuzz
from tests.safety.strategies import NASTY, altered, flipped

pytestmark = pytest.mark.faults

_ALL = ("info", "status", "quick look", "verify")
_STATES = ("mean of layer 0", "as a dataset", "curvature of layer 0", "lengths", *_ALL)
DOCUMENTS = {
    "model": (r"models/[^/]+/zarr\.json", _STATES),
    "checkpoint": (r"models/[^/]+/step0/zarr\.json", _STATES),
    "lengths": (r"models/[^/]+/n_tokens/zarr\.json", ("lengths", *_ALL)),
    "pooled": (r"models/[^/]+/step0/mean_pool/zarr\.json", _STATES),
    "values": (r"models/[^/]+/step0/curvature/zarr\.json", ("curvature", *_ALL)),
    "sample": (r"models/.*/step0/tokens/sample/zarr\.json", ("tokens", "spans", *_ALL)),
    "label": (r"models/.*/step0/tokens/sample/row/zarr\.json", ("tokens", "spans", *_ALL)),
    "head": (r"models/.*/step0/head/zarr\.json", ("head", "program", "logits", "lens", *_ALL)),
    "head array": (r"models/.*/step0/head/gain/zarr\.json", ("head", "logits", *_ALL)),
    "lens": (r"models/.*/step0/lenses/affine/zarr\.json", ("lens", "bias", *_ALL)),
    "manifest": (r"tasks/Near/manifest\.json", ("Near", "suite scores", *_ALL)),
    "suite": (r"suites/both\.json", ("suite", *_ALL)),
    "experiment": (r"experiments/0+\.json", ("experiments", *_ALL)),
    "lease": (r"leases/[0-9a-f]+\.1\.lease", ("leases", *_ALL)),
}
JOURNALS = {
    "ledger": (r"models/.*/step0/ledger/[^/]+\.jsonl", _STATES),
    "text ledger": (r"texts/ledger/[^/]+\.jsonl", ("text", *_ALL)),
    "scores": (r"scores/journal/.*\.jsonl", ("scores", "leaves", *_ALL)),
    "leaves": (r"scores/leaves/.*\.jsonl", ("leaves",)),
    "metrics": (r"metrics/journal/.*\.jsonl", ("metric", *_ALL)),
    "runs": (r"runs/.*\.jsonl", _ALL),
}
TABLES = {
    "views": (r"views/.*\.parquet", ("view", *_ALL)),
    "vocabulary": (r"models/[^/]+/vocabulary\.parquet", ("vocabulary", *_ALL)),
}


def _key(sound: Path, pattern: str) -> str:
    keys = sorted(p.relative_to(sound).as_posix() for p in sound.rglob("*") if p.is_file())
    return next(key for key in keys if re.fullmatch(pattern, key))


def _store(sound: Path, key: str, data: bytes, **more: bytes) -> Store:
    return Store(AlteredStorage(sound, {key: data, **more}))


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_document_of_anybodys_is_read_or_refused(kind: str, sound: Path, fuzz: Fuzz) -> None:
    pattern, about = DOCUMENTS[kind]
    key = _key(sound, pattern)
    whole = json.loads((sound / key).read_bytes())
    fuzz(altered(whole), lambda one: ask(_store(sound, key, sealed_like(key, one)), about))


@pytest.mark.parametrize("kind", JOURNALS)
def test_a_journal_of_anybodys_is_read_or_refused(kind: str, sound: Path, fuzz: Fuzz) -> None:
    pattern, about = JOURNALS[kind]
    key = _key(sound, pattern)
    whole = records_of((sound / key).read_bytes())[:20]
    fuzz(altered(whole), lambda one: ask(_store(sound, key, _lines(key, one)), about))


def _lines(key: str, records: object) -> bytes:
    return journal_of(key, records if isinstance(records, list) else [records])


@pytest.mark.parametrize("kind", [*DOCUMENTS, *JOURNALS, *TABLES])
def test_bytes_of_anybodys_are_read_or_refused(kind: str, sound: Path, fuzz: Fuzz) -> None:
    pattern, about = {**DOCUMENTS, **JOURNALS, **TABLES}[kind]
    key = _key(sound, pattern)
    whole = (sound / key).read_bytes()
    fuzz(flipped(whole), lambda one: ask(_store(sound, key, resealed(key, one)), about))


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_of_other_columns_is_read_or_refused(kind: str, sound: Path, fuzz: Fuzz) -> None:
    pattern, about = TABLES[kind]
    key = _key(sound, pattern)
    whole = pq.read_table(sound / key)

    def law(case: tuple[int, int, object]) -> None:
        place, n, value = case
        try:
            column = _column(value, n, len(whole))
            parquet(pa.table({"x": column}))
        except (pa.ArrowException, ValueError, TypeError, OverflowError):  # no column of it
            return
        table = whole.set_column(
            place % whole.num_columns, whole.column_names[place % whole.num_columns], column
        )
        ask(_store(sound, key, sealed_parquet(key, table)), about)

    fuzz(st.tuples(st.integers(0, 9), st.integers(0, 2), NASTY), law)


def _column(value: object, n: int, length: int) -> pa.Array:
    return pa.array([None if n and i % (n + 1) else value for i in range(length)])


@pytest.mark.parametrize("table", ["calls", "test"])
def test_a_task_with_altered_tables_is_read_or_refused(table: str, sound: Path, fuzz: Fuzz) -> None:
    key, manifest = f"tasks/Near/{table}.parquet", "tasks/Near/manifest.json"
    whole = json.loads((sound / manifest).read_bytes())
    data = (sound / key).read_bytes()
    columns = pq.read_table(sound / key)

    def law(case: bytes | tuple[int, object]) -> None:
        if isinstance(case, tuple):
            try:
                column = _column(case[1], 0, len(columns))
                parquet(pa.table({"x": column}))
            except (pa.ArrowException, ValueError, TypeError, OverflowError):  # no column of it
                return
            place = case[0] % columns.num_columns
            case = parquet(columns.set_column(place, columns.column_names[place], column))
        files = {**whole["files"], table: told(case)}
        sealed = sealed_like(manifest, {**whole, "files": files})
        ask(_store(sound, key, case, **{manifest: sealed}), ("Near", *_ALL))

    fuzz(flipped(data) | st.tuples(st.integers(0, 9), NASTY), law)


def test_a_text_part_that_was_altered_is_read_or_refused(sound: Path, fuzz: Fuzz) -> None:
    key, ledger = _key(sound, r"texts/part.*"), _key(sound, r"texts/ledger/.*jsonl")
    data, records = (sound / key).read_bytes(), records_of((sound / ledger).read_bytes())

    def law(case: bytes) -> None:
        of_part = told(case)
        line = {**records[0], "n_bytes": of_part["bytes"], "digest": of_part["digest"]}
        lines = journal_of(ledger, [line, *records[1:]])
        ask(_store(sound, key, case, **{ledger: lines}), ("text", "views", *_ALL))

    fuzz(flipped(data), law)


def test_kept_arrays_of_anybodys_are_read_or_refused(sound: Path, fuzz: Fuzz) -> None:
    key = _key(sound, r"metrics/values/.*npz")
    whole = (sound / key).read_bytes()
    fuzz(flipped(whole), lambda one: ask(_store(sound, key, resealed(key, one)), ("metric",)))


@pytest.mark.parametrize("array", ["step0/mean_pool", "step0/curvature", "n_tokens"])
def test_shards_of_anybodys_are_read_or_refused(array: str, sound: Path, fuzz: Fuzz) -> None:
    key = _key(sound, rf"models/[^/]+/{array}/c\..*")
    whole = (sound / key).read_bytes()
    fuzz(flipped(whole), lambda one: ask(_store(sound, key, one), _STATES))


def test_a_root_of_anybodys_is_opened_or_refused(sound: Path, fuzz: Fuzz, tmp_path: Path) -> None:
    whole = json.loads((sound / "zarr.json").read_bytes())

    def law(document: object) -> None:
        (tmp_path / "zarr.json").write_bytes(sealed_like("zarr.json", document))
        try:
            open_store(tmp_path)
        except ActstoreError:
            return

    fuzz(altered(whole), law)
