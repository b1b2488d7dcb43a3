"""A store that is no folder: in memory, in a bucket; and how it is opened and read at once."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from actstore.errors import InvalidInputError
from actstore.store import Store, create_store, describe_store, open_store
from actstore.store.status.stage_status import overview
from actstore.store.storage import LocalStorage
from tests.support.states import MODEL, fill, known_states, spec

N_TEXTS = 150
CHECKPOINTS = ("step1", "step2", "step4")


@pytest.fixture(params=["memory", "s3"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('bucket')}/deep/x.zarr"
    return f"memory://{uuid.uuid4().hex}"


def filled(url: str | Path) -> Store:
    """A store with three checkpoints of known states and a view set."""
    store = create_store(url)
    rows = store.add_texts([f"Text number {n}." for n in range(N_TEXTS)])
    store.add_views("default", rows[:2], [["one", "two"], ["three", "four"]])
    for checkpoint in CHECKPOINTS:
        fill(store.begin_checkpoint(spec(checkpoint=checkpoint)))
    return store


def test_states_come_back(url: str) -> None:
    filled(url)
    store, rows = open_store(url), np.array([149, 3, 70])
    for threads in (None, 1, 4):
        found = store.embeddings(MODEL, checkpoint="step2", layer=2, rows=rows, threads=threads)
        np.testing.assert_array_equal(found, known_states(rows, spec())[2])
    lazy = xr.open_dataset(url, engine="actstore")
    assert lazy["checkpoint"].values.tolist() == [*CHECKPOINTS]
    chosen = lazy["mean_pool"].sel(checkpoint="step4", layer=1).isel(text=rows)
    np.testing.assert_array_equal(chosen.values, known_states(rows, spec())[1])


def test_what_is_said_of_it_is_what_is_said_of_a_folder(url: str, tmp_path: Path) -> None:
    stores = filled(url), filled(tmp_path / "x.zarr")
    ours, theirs = (replace(describe_store(store), url="") for store in stores)
    assert ours == theirs
    ours, theirs = ([one.done for one in overview(store).stages] for store in stores)
    assert ours == theirs


def test_it_has_no_folder_and_says_how_to_get_one(url: str) -> None:
    store = create_store(url)
    with pytest.raises(InvalidInputError, match=f"{url} is no folder.*actstore copy {url} FOLDER"):
        _ = store.path
    with pytest.raises(InvalidInputError, match=f"actstore scores {url} --out FOLDER"):
        _ = store.results_path


def test_other_processes_open_a_bucket_by_its_url_and_a_folder_by_its_whole_path(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert create_store(f"{bucket}/x.zarr").absolute_url == f"{bucket}/x.zarr"
    assert create_store("x.zarr").absolute_url == str(tmp_path / "x.zarr")


def test_no_other_process_opens_what_is_in_memory() -> None:
    store = create_store("memory://alone")
    with pytest.raises(InvalidInputError, match="memory of this process.*disk or in a bucket"):
        _ = store.absolute_url


def test_the_caller_says_how_many_reads_go_on_at_once(tmp_path: Path) -> None:
    create_store(tmp_path / "x.zarr")
    assert open_store(tmp_path / "x.zarr").storage.threads == 1
    assert open_store(tmp_path / "x.zarr", threads=7).storage.threads == 7


class InPairs(LocalStorage):
    """Answers for a checkpoint's document once two were asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.threads = 2
        self.pair = threading.Barrier(2, timeout=10)

    def read(self, key: str) -> bytes:
        if key.endswith(tuple(f"{name}/zarr.json" for name in CHECKPOINTS[:2])):
            self.pair.wait()
        return super().read(key)


def test_checkpoints_are_opened_at_once_where_each_takes_a_while(tmp_path: Path) -> None:
    filled(tmp_path / "x.zarr")
    store = Store(InPairs(tmp_path / "x.zarr"))
    assert store.checkpoints(MODEL) == [*CHECKPOINTS]
    groups = store.checkpoint_groups(MODEL, CHECKPOINTS[:2])
    assert [group.checkpoint for group in groups] == [*CHECKPOINTS[:2]]
