from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from actstore.errors import InvalidInputError, NotAStoreError, StoreVersionError, UnknownNameError
from actstore.store import create_store, open_store


def test_creating_a_store_that_exists_opens_it(tmp_path: Path) -> None:
    create_store(tmp_path / "s.zarr").add_texts(["x"])
    assert create_store(tmp_path / "s.zarr").texts()["text"].tolist() == ["x"]


@pytest.mark.parametrize("kind", ["nothing", "folder", "file", "other zarr"])
def test_a_path_that_is_no_store_is_said_so(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s.zarr"
    if kind in ("folder", "other zarr"):
        path.mkdir()
    if kind == "other zarr":
        (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    if kind == "file":
        path.write_text("x")
    with pytest.raises(NotAStoreError, match="is not an actstore store.*actstore collect"):
        open_store(path)


def test_nothing_is_created_in_place_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInputError, match="is a file"):
        create_store(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "precious.txt").write_text("x")
    with pytest.raises(NotAStoreError):
        create_store(tmp_path / "folder")
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["precious.txt"]


def test_a_store_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    document = json.loads((store.path / "zarr.json").read_text())
    document["attributes"]["actstore"]["format_version"] = 99
    (store.path / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(StoreVersionError, match="99.*pip install --upgrade"):
        open_store(store.url)


def test_a_frozen_task_comes_back_with_its_texts(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    rows = store.add_texts(["a", "b", "c"])
    calls = pa.table(
        {
            "split": ["test", "test"],
            "subset": ["default", "default"],
            "prompt_type": ["", "query"],
            "rows": pa.array([[2, 0, 2], [0, 1]], pa.list_(pa.int64())),
        }
    )
    data = pa.table({"score": [0.5, 1.5]})
    store.write_task("STS12", {"mteb_version": "2"}, calls, {"test": data})
    task = open_store(store.url).task("STS12")
    assert task.manifest == {"mteb_version": "2"}
    assert task.rows().tolist() == [2, 0, 1]
    assert task.table("test").equals(data)
    assert store.texts("STS12")["text"].tolist() == ["c", "a", "b"]
    assert store.rows_of_suite("STS12").tolist() == sorted(rows)
    with pytest.raises(UnknownNameError, match="STS13"):
        store.rows_of_suite("STS12,STS13")
    assert store.texts("STS12")["row"].tolist() == [rows[2], rows[0], rows[1]]


def test_a_task_whose_manifest_was_not_written_does_not_exist(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    (store.path / "tasks" / "STS12").mkdir()
    assert store.tasks() == []
    with pytest.raises(UnknownNameError, match="actstore collect"):
        store.task("STS12")


def test_suites_are_kept_beside_the_tasks(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    assert store.suites() == []
    store.write_suite("demo", {"tasks": [{"name": "STS12"}]})
    assert open_store(store.url).suites() == ["demo"]
    assert store.suite("demo") == {"tasks": [{"name": "STS12"}]}
    with pytest.raises(UnknownNameError, match="Did you mean 'demo'"):
        store.suite("dmeo")


def test_importing_actstore_or_its_command_line_loads_nothing_heavy() -> None:
    script = (
        "import sys, actstore, actstore.__main__\n"
        "print([m for m in ('torch', 'transformers', 'mteb', 'dask', 'zarr', 'pandas', 'xarray')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
