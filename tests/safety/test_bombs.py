"""Small files that stand for more than any machine has: refused before room is made for them."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actstore.errors import CorruptShardError, InvalidInputError
from actstore.store import open_store
from actstore.store.records import documents
from actstore.store.records.npz import parse_npz
from actstore.store.records.parquet import parse_table
from actstore.store.storage import LocalStorage, open_storage
from actstore.yaml_files import read_yaml
from tests.safety.altered import journal_of, records_of, sealed_like

_ROOM = 6 << 30
"""Bytes of address space: what the libraries take by themselves, and a bounded table."""


def _file(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", store_schema=False, row_group_size=1 << 30)
    return buffer.getvalue()


def test_a_dictionary_of_one_long_text_is_no_gigabytes_of_copies(tmp_path: Path) -> None:
    codes = pa.array(np.zeros(500_000, np.int32))
    bomb = _file(pa.table({"text": pa.DictionaryArray.from_arrays(codes, pa.array(["x" * 10**6]))}))
    assert len(bomb) < 10_000  # 500 GB
    with pytest.raises(CorruptShardError, match="stand for more than"):
        parse_table(LocalStorage(tmp_path), "bomb.parquet", bomb)


def test_lists_of_one_long_text_are_refused_too(tmp_path: Path) -> None:
    codes = pa.array(np.zeros(100_000, np.int32))
    texts = pa.DictionaryArray.from_arrays(codes, pa.array(["x" * 10**6]))
    lists = pa.ListArray.from_arrays(np.arange(0, 100_001, 10, np.int32), texts)
    with pytest.raises(CorruptShardError, match="stand for more than"):
        parse_table(LocalStorage(tmp_path), "bomb.parquet", _file(pa.table({"a": lists})))


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", "b", None]),
        pa.array(["a", "b", None], pa.large_string()),
        pa.array([["a"], [], None]),
        pa.array([{"p": 1, "q": "z"}, {"p": 2, "q": None}, None]),
        pa.array([[{"id": "u"}], [], None]),
        pa.array([b"1", b"2", b"3"]),
        pa.array(["a", "b", "a"]).dictionary_encode(),
        pa.array([1.5, 2.5, None]),
    ],
    ids=lambda column: str(column.type),
)
@pytest.mark.parametrize("with_schema", [True, False])
def test_a_table_is_read_as_pyarrow_reads_it(
    column: pa.Array, with_schema: bool, tmp_path: Path
) -> None:
    buffer = io.BytesIO()
    table = pa.table({"x": column}, metadata={b"k": b"v"})
    pq.write_table(table, buffer, store_schema=with_schema)
    found = parse_table(LocalStorage(tmp_path), "t.parquet", buffer.getvalue())
    assert found.equals(pq.read_table(io.BytesIO(buffer.getvalue())), check_metadata=True)


def test_text_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    text = pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())
    with pytest.raises(CorruptShardError):
        parse_table(LocalStorage(tmp_path), "t.parquet", _file(pa.table({"text": text})))


def test_arrays_that_are_compressed_or_claim_more_than_they_have_are_refused(
    tmp_path: Path,
) -> None:
    packed, claiming = io.BytesIO(), io.BytesIO()
    np.savez_compressed(packed, a=np.zeros(10**8))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 50,)}
    )
    with zipfile.ZipFile(claiming, "w") as archive:
        archive.writestr("a.npy", header.getvalue())
    pickled = io.BytesIO()
    np.savez(pickled, a=np.array([object()]))
    for data in (packed, claiming, pickled):
        with pytest.raises(CorruptShardError, match="no npz"):
            parse_npz(LocalStorage(tmp_path), "a.npz", data.getvalue())


def test_a_sparse_document_is_refused_by_its_size(sound: Path, tmp_path: Path) -> None:
    with (tmp_path / "zarr.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(CorruptShardError, match="1,099,511,627,776 bytes"):
        LocalStorage(tmp_path).read("zarr.json")


def test_json_that_is_nested_too_deep_is_refused_before_it_is_parsed() -> None:
    for deep in (b"[" * 10**6, b'{"a":' * 10**5 + b"1" + b"}" * 10**5, b"[" * 65 + b"]" * 65):
        assert not documents.is_shallow(deep)
        with pytest.raises(ValueError, match="inside one another"):
            documents.parse(deep)
    in_text = b'{"a": "' + b"[" * 1000 + b'\\"[[", "b": [' + b"{}," * 500 + b"1]}"
    assert documents.parse(in_text)["b"][-1] == 1


@pytest.mark.parametrize(
    "change",
    [{"rows_per_shard": 1 << 40}, {"rows_per_chunk": 0}, {"rows_per_shard": -1}],
    ids=str,
)
def test_a_model_whose_shards_would_fit_nowhere_is_refused(
    change: dict[str, int], sound: Path, tmp_path: Path
) -> None:
    _check_bomb(sound, tmp_path, "models/someone__small/zarr.json", {"attributes": change})


@pytest.mark.parametrize(
    "change",
    [{"hidden_size": 1 << 40}, {"hidden_size": -12}, {"layers": [*range(4), 1 << 40]}],
    ids=str,
)
def test_a_checkpoint_whose_states_would_fit_nowhere_is_refused(
    change: dict[str, object], sound: Path, tmp_path: Path
) -> None:
    _check_bomb(sound, tmp_path, "models/someone__small/step0/zarr.json", {"attributes": change})


def test_a_text_table_of_more_rows_than_its_file_can_hold_is_refused(
    sound: Path, tmp_path: Path
) -> None:
    _check_bomb(sound, tmp_path, _ledger_of_texts(sound), {"stop": 1 << 30})


def _ledger_of_texts(sound: Path) -> str:
    return next((sound / "texts/ledger").glob("*.jsonl")).relative_to(sound).as_posix()


def _check_bomb(sound: Path, tmp_path: Path, key: str, change: dict[str, object]) -> None:
    """Asking for anything ends with an error of ours, in little memory."""
    root = tmp_path / "bomb.zarr"
    shutil.copytree(sound, root)
    (root / key).unlink()
    data = (sound / key).read_bytes()
    if key.endswith(".jsonl"):
        first, *others = records_of(data)
        (root / key).write_bytes(journal_of(key, [{**first, **change}, *others]))
    else:
        document = json.loads(data)
        document["attributes"] |= change["attributes"]  # type: ignore[operator]
        (root / key).write_bytes(sealed_like(key, document))
    script = (
        "import sys, resource\n"
        "from actstore.store import open_store\n"
        "from actstore.errors import CorruptShardError\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({_ROOM}, {_ROOM}))\n"
        "store = open_store(sys.argv[1])\n"
        "try:\n"
        "    store.embeddings('someone/small', checkpoint='step0', layer=1)\n"
        "except CorruptShardError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(root)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "is damaged" in done.stdout


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\n"
        + "".join(
            f"b{n}: &b{n} [{', '.join([f'*b{n - 1}' if n else '*a'] * 10)}]\n" for n in range(9)
        ),
        "[" * 5000,
        "a:\n" + "".join(f"{' ' * n}- \n" for n in range(1, 3000)),
        "a: " + "9" * 10_000,
        "a: !!python/object/apply:os.system [echo]",
        "a: !!python/name:os.system ",
        '"\\U00110000"',
        "a: &a {b: *a}",
        "<<: {a: 1}\n? [x]\n: 2",
    ],
    ids=lambda text: text[:20],
)
def test_an_experiment_file_of_anybodys_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInputError):
        read_yaml(path)


def test_a_file_that_is_no_zip_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with pytest.raises(InvalidInputError, match="cannot be opened"):
        open_store(f"zip://x.zarr::{tmp_path / 'a.zip'}")


def test_a_file_of_a_zip_that_unpacks_to_more_than_a_document_has_is_refused(
    tmp_path: Path,
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.zarr/zarr.json", b" " * (100 << 20))
    storage = open_storage(f"zip://x.zarr::{tmp_path / 'a.zip'}")
    with pytest.raises(CorruptShardError, match="has more than"):
        storage.read("zarr.json")
