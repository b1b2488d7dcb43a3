"""Exports: what is read from the file is what the store holds, with units and where it is from."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray as xr

from actstore.errors import (
    DiskSpaceError,
    InvalidInputError,
    MissingShardsError,
    UnknownNameError,
)
from actstore.export import WHAT, ExportRequest, export
from actstore.export import states as states_module
from actstore.store import Store
from tests.metrics.small_store import N_TEXTS, SmallStore, small_store
from tests.report.scored_store import MODEL, TASKS, score, scored_store
from tests.support.command_line import command_line
from tests.support.states import known_store, spec


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return scored_store(tmp_path_factory.mktemp("scored"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallStore:
    return small_store(tmp_path_factory.mktemp("small"), views=False)


def read(path: Path) -> pd.DataFrame:
    if path.suffix == ".csv":
        return pd.read_csv(path, keep_default_na=False, na_values=["NaN"])
    return pd.read_parquet(path)


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    expected = expected.reset_index(drop=True)
    assert [*found] == [*expected]
    for name in expected:
        if expected[name].dtype.kind in "fiu":
            np.testing.assert_array_equal(found[name].to_numpy(float), expected[name])
        else:
            assert found[name].tolist() == expected[name].tolist()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_come_back_as_they_were(scored: Store, tmp_path: Path, suffix: str) -> None:
    for what, expected in (
        ("scores", scored.task_scores()),
        ("metrics", scored.metric_table().drop(columns=["values", "parameters"])),
    ):
        out = export(scored, tmp_path / f"{what}.{suffix}", ExportRequest(what))
        same(read(out), expected)


def test_scores_come_back_as_arrays(scored: Store, tmp_path: Path) -> None:
    out = export(scored, tmp_path / "scores.nc", ExportRequest("scores"))
    with xr.open_dataset(out) as found:
        expected = scored.score_array()
        np.testing.assert_array_equal(found["score"], expected)
        for name in expected.coords:
            assert found[name].to_numpy().tolist() == pytest.approx(
                expected[name].to_numpy().tolist(), nan_ok=True
            )
        assert found["step"].attrs["units"] == "training steps"


def test_metrics_come_back_as_arrays(scored: Store, tmp_path: Path) -> None:
    out = export(scored, tmp_path / "metrics.nc", ExportRequest("metrics", layers="2-4"))
    with xr.open_dataset(out) as found:
        expected = scored.metrics().sel(layer=[2, 3, 4])
        np.testing.assert_array_equal(found["value"], expected["value"])
        assert found["n"].to_numpy().tolist() == expected["n"].to_numpy().tolist()
        assert found["unit"].to_numpy().tolist() == ["radians", "dims"]


def test_leaves_are_one_line_a_number(scored: Store, tmp_path: Path) -> None:
    request = ExportRequest("leaves", suite="Modules,Find", checkpoints=("step0",), layers="-1")
    table = read(export(scored, tmp_path / "leaves.parquet", request))
    scores = scored.scores().query("checkpoint == 'step0' and layer == 6")
    for task in ("Modules", "Find"):
        expected = scores.loc[scores["task"] == task, "main_score"].tolist()
        assert table.loc[table["task"] == task, "value"].tolist() == expected
    assert set(table["leaf"]) == {"main"}
    assert len(table) == 2
    with xr.open_dataset(export(scored, tmp_path / "leaves.nc", request)) as found:
        assert found["value"].to_numpy().tolist() == table["value"].tolist()
        assert found["task"].to_numpy().tolist() == table["task"].tolist()


def test_selections_select(scored: Store, tmp_path: Path) -> None:
    request = ExportRequest(
        "scores", MODEL, ("step20", "step40"), layers="0,5", pooling="mean", suite="Similar"
    )
    table = read(export(scored, tmp_path / "some.csv", request))
    assert set(table["checkpoint"]) == {"step20", "step40"}
    assert set(table["layer"]) == {0, 5}
    assert set(table["task"]) == {"Similar"}
    with xr.open_dataset(export(scored, tmp_path / "some.nc", request)) as found:
        assert dict(found.sizes) == {
            "model": 1, "checkpoint": 2, "layer": 2, "pooling": 1, "transform": 1, "task": 1
        }  # fmt: skip
    assert len(TASKS) > 1


def test_files_say_units_and_where_they_are_from(
    scored: Store, small: SmallStore, tmp_path: Path
) -> None:
    table = pq.read_schema(export(scored, tmp_path / "s.parquet", ExportRequest("scores")))
    assert table.field("step").metadata == {
        b"units": b"training steps",
        b"long_name": b"the training step that the checkpoint's name states",
    }
    told = json.loads(table.metadata[b"actstore"])
    assert told["store"] == scored.url
    assert told["source"].startswith("actstore ")
    with xr.open_dataset(export(small.store, tmp_path / "h.nc", ExportRequest("states"))) as found:
        assert found["state"].attrs["units"] == "model units"
        plans = json.loads(found.attrs["plans"])
    assert sorted(plans) == ["step0", "step1000"]
    assert "step1000" in json.dumps(plans["step1000"]), "the digest of its weights"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_texts_come_back_with_their_lengths(small: SmallStore, tmp_path: Path, suffix: str) -> None:
    table = read(export(small.store, tmp_path / f"texts.{suffix}", ExportRequest("texts")))
    assert table["text"].tolist() == small.store.texts()["text"].tolist()
    assert table["n_tokens"].tolist() == [3] * N_TEXTS


@pytest.mark.parametrize("suffix", ["csv", "parquet", "nc"])
def test_states_come_back_as_they_were(
    small: SmallStore, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states_module, "_AT_ONCE", 50 * 4 * 12)  # several pieces a layer
    request = ExportRequest("states", layers="1,3")
    out = export(small.store, tmp_path / f"states.{suffix}", request)
    expected = np.stack([small.pooled[name][[1, 3]] for name in ("step0", "step1000")])
    if suffix == "nc":
        with xr.open_dataset(out) as found:
            np.testing.assert_array_equal(found["state"], expected)
            assert found["state"].dims == ("checkpoint", "layer", "text", "hidden")
            assert found["checkpoint"].to_numpy().tolist() == ["step0", "step1000"]
            assert found["row"].to_numpy().tolist() == [*range(N_TEXTS)]
        return
    table = read(out)
    if suffix == "csv":
        states = table[[f"h{i}" for i in range(12)]].to_numpy(np.float32)
    else:
        states = np.stack(table["state"])
    np.testing.assert_array_equal(states.reshape(expected.shape), expected)
    assert table["row"].tolist() == [*range(N_TEXTS)] * 4
    assert table["layer"].tolist() == [layer for layer in (1, 3, 1, 3) for _ in range(N_TEXTS)]


@pytest.mark.parametrize("suffix", ["parquet", "nc"])
def test_tokens_come_back_as_they_were(small: SmallStore, tmp_path: Path, suffix: str) -> None:
    out = export(small.store, tmp_path / f"tokens.{suffix}", ExportRequest("tokens"))
    texts = small.tokens["step1000"]
    expected = np.concatenate([text[2] for text in texts])
    rows = [row for row, text in enumerate(texts) for _ in range(text.shape[1])]
    if suffix == "nc":
        with xr.open_dataset(out) as found:
            chosen = found["state"].sel(checkpoint="step1000", layer=2)
            np.testing.assert_array_equal(chosen, expected)
            assert chosen["row"].to_numpy().tolist() == rows
        return
    table = read(out).query("checkpoint == 'step1000' and layer == 2")
    np.testing.assert_array_equal(np.stack(table["state"]), expected)
    assert table["row"].tolist() == rows
    assert table["position"].tolist() == [i for text in texts for i in range(text.shape[1])]


@pytest.mark.parametrize("suffix", ["parquet", "nc"])
def test_memory_does_not_grow_with_the_states(tmp_path: Path, suffix: str) -> None:
    store, _ = known_store(tmp_path / "store.zarr", n_texts=20_000, hidden_size=256)
    n_bytes = 4 * 20_000 * 256 * 4
    tracemalloc.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(states_module, "_AT_ONCE", 1 << 20)
        export(store, tmp_path / f"states.{suffix}", ExportRequest("states"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < n_bytes / 8


def test_a_csv_file_that_nobody_can_use_is_refused(
    small: SmallStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states_module, "_MOST_CSV", 1000)
    with pytest.raises(InvalidInputError, match=r"about \d.* kB.*\.parquet"):
        export(small.store, tmp_path / "states.csv", ExportRequest("states"))
    assert not [*tmp_path.iterdir()]


def test_a_full_disk_is_told_of_before(
    small: SmallStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(states_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DiskSpaceError, match="10 bytes"):
        export(small.store, tmp_path / "states.parquet", ExportRequest("states"))


def test_checkpoints_of_other_layers_make_no_array(tmp_path: Path) -> None:
    from tests.support.states import fill

    store, _ = known_store(tmp_path / "store.zarr", n_texts=10)
    fill(store.begin_checkpoint(spec(checkpoint="step2", weights_digest="x", layers=(0, 3))))
    with pytest.raises(InvalidInputError, match=r"other layers.*--layers"):
        export(store, tmp_path / "states.nc", ExportRequest("states"))
    assert [one.name for one in tmp_path.iterdir()] == ["store.zarr"]
    export(store, tmp_path / "states.nc", ExportRequest("states", layers="0,3"))
    long = read(export(store, tmp_path / "states.parquet", ExportRequest("states")))
    assert len(long) == 10 * (4 + 2)


def test_what_is_not_there_is_named(scored: Store, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="kind of export"):
        export(scored, tmp_path / "x.csv", ExportRequest("score"))
    with pytest.raises(UnknownNameError, match="model with scores"):
        export(scored, tmp_path / "x.csv", ExportRequest("scores", model="other"))
    with pytest.raises(InvalidInputError, match="no scores of that.*actstore eval"):
        export(scored, tmp_path / "x.csv", ExportRequest("scores", pooling="last"))
    with pytest.raises(InvalidInputError, match="holds 0 models"):
        export(scored, tmp_path / "x.nc", ExportRequest("states"))
    store, _ = known_store(tmp_path / "store.zarr", n_texts=5)
    store.add_texts([f"later {i}" for i in range(100)])
    with pytest.raises(MissingShardsError, match="actstore extract"):
        export(store, tmp_path / "x.parquet", ExportRequest("states"))
    assert [one.name for one in tmp_path.iterdir()] == ["store.zarr"]


def test_files_are_not_replaced_unasked(scored: Store, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    out.write_text("mine")
    with pytest.raises(InvalidInputError, match="--overwrite"):
        export(scored, out, ExportRequest("scores"))
    assert out.read_text() == "mine"
    export(scored, out, ExportRequest("scores", overwrite=True))
    assert out.read_text().startswith("model,checkpoint")
    with pytest.raises(InvalidInputError, match=r"\.csv or \.parquet"):
        export(scored, tmp_path / "scores.xlsx", ExportRequest("scores"))
    with pytest.raises(InvalidInputError, match="mkdir"):
        export(scored, tmp_path / "none" / "scores.csv", ExportRequest("scores"))


def test_an_incomplete_grid_stays_incomplete(tmp_path: Path) -> None:
    store = scored_store(tmp_path, n_checkpoints=4, n_layers=5)
    store.record_scores([score("step80", 9, "Find", 0.5)])
    table = read(export(store, tmp_path / "scores.csv", ExportRequest("scores")))
    assert len(table) == (4 * 5 - 1) * len(TASKS) + 1
    with xr.open_dataset(export(store, tmp_path / "scores.nc", ExportRequest("scores"))) as found:
        values = found["score"].sel(checkpoint="step40", layer=3)
        assert bool(values.isnull().all())


def test_the_command_writes_every_kind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = command_line(monkeypatch, capsys, tmp_path)
    small_store(tmp_path)
    scored_store(tmp_path)
    for what in WHAT:
        store = "small.zarr" if what in ("texts", "states", "tokens") else "scored.zarr"
        code, out, _ = run(f"export {store} --what {what} --out {what}.parquet")
        assert code == 0
        assert "written" in out
        assert pq.read_metadata(tmp_path / f"{what}.parquet").num_rows > 0
    code, _, error = run("export scored.zarr --what scores --out scores.parquet")
    assert code == 2
    assert "--overwrite" in error
    code, _, error = run("export scored.zarr --what scores --out a.csv --suite a --task b")
    assert code == 2
    assert "not both" in error
