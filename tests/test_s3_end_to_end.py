"""The whole way in a bucket, beside the same on a disk: texts, states, scores, metrics, a report.

The server speaks S3 on this machine (moto). Its store is filled by the program, with two workers;
the one on disk with one, in this process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from actstore.experiment.load import load_experiment
from actstore.experiment.run import run_experiment
from actstore.store import Store, open_store
from tests.support.command_line import Run, command_line
from tests.support.s3.fixtures import new_bucket
from tests.support.tiny_models import save_tiny_model, tiny_texts

pytestmark = pytest.mark.slow

EXPERIMENT = """\
name: tiny
store: {store}
model: ./neox
checkpoints: [step0, step10]
layers: 1-3
tasks: [DocstringPairClassification]
tokens: {{texts: 20}}
views: {{texts: 10, views: 2}}
poolings: [mean]
extract: {{devices: "cpu:{workers}", threads: 1}}
evaluate: {{poolings: [mean], layers: 2-3}}
metrics: {{metrics: [effective_rank, lens_entropy, infonce], fit_lenses: [mean_shift]}}
"""
TASK = "DocstringPairClassification"
EXTRACT_TO_MEMORY = "extract memory://x --model neox --checkpoints step0 --texts texts.txt"
READS = ("info {}", "status {}", "scores {} --by task")


@dataclass(frozen=True)
class Both:
    """A folder with the same experiment run into a bucket and onto the disk."""

    folder: Path
    url: str

    @property
    def in_bucket(self) -> Store:
        return open_store(self.url)

    @property
    def on_disk(self) -> Store:
        return open_store(self.folder / "tiny.zarr")


@pytest.fixture(scope="module")
def both(s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("both")
        found = Both(folder, f"{new_bucket(s3_endpoint, patch)}/deep/tiny.zarr")
        save_tiny_model(folder / "neox", "gpt_neox", checkpoints=("step0", "step10"))
        (folder / "texts.txt").write_text("\n".join(tiny_texts(100)), "utf-8")
        for name, store, workers in (("s3", found.url, 2), ("disk", "tiny.zarr", 1)):
            file = folder / f"{name}.yaml"
            file.write_text(EXPERIMENT.format(store=store, workers=workers), "utf-8")
        run_program(folder, "run", "s3.yaml")
        run_experiment(load_experiment(folder / "disk.yaml"))
        yield found


@pytest.fixture
def run(both: Both, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return command_line(monkeypatch, capsys, both.folder)


def run_program(folder: Path, *command: str) -> None:
    program = [sys.executable, "-m", "actstore", *command]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


def states(store: Store) -> dict[str, bytes]:
    """Every array's bytes."""
    objects = store.storage.objects("models")
    return {one.key: store.storage.read(one.key) for one in objects if "/c." in one.key}


def scores(store: Store) -> pd.DataFrame:
    """All but what differs from run to run."""
    columns = ["checkpoint", "layer", "task", "main_score", "inputs_digest", "environment"]
    return store.scores()[columns]


def test_texts_of_a_file_are_collected_extracted_and_read_through_a_lens(
    both: Both, run: Run
) -> None:
    url = both.url.replace("tiny.zarr", "texts.zarr")
    assert run(f"collect {url} --texts texts.txt")[0] == 0
    extract = f"extract {url} --model neox --checkpoints step0 --devices cpu --tokens all"
    code, _, err = run(extract)
    assert code == 0, err
    assert open_store(url).embeddings("neox", checkpoint="step0", layer=1).shape == (100, 32)
    (both.folder / "one.txt").write_text(tiny_texts(1)[0], "utf-8")
    for command in (f"lens {url} --prompt-file one.txt", f"views {url} --texts-sample 5 --views 2"):
        code, _, err = run(command)
        assert code == 0, err


def test_states_are_the_same_bytes(both: Both) -> None:
    ours, theirs = states(both.in_bucket), states(both.on_disk)
    assert len(ours) > 2 * 10
    assert ours == theirs


def test_scores_and_metrics_are_the_same_numbers(both: Both) -> None:
    ours, theirs = both.in_bucket, both.on_disk
    assert len(scores(ours)) == 2 * 2
    pd.testing.assert_frame_equal(scores(ours), scores(theirs), check_exact=True)
    columns = ["checkpoint", "layer", "metric", "source", "value", "interval", "inputs"]
    values, expected = (one.metric_table()[columns] for one in (ours, theirs))
    assert {"effective_rank", "lens_entropy", "infonce"} <= set(values["metric"])
    pd.testing.assert_frame_equal(values, expected, check_exact=True)


def test_lenses_and_views_are_the_same(both: Both) -> None:
    groups = [one.checkpoint("neox", "step10") for one in (both.in_bucket, both.on_disk)]
    ours, theirs = (group.lens("mean_shift") for group in groups)
    np.testing.assert_array_equal(ours.weight, theirs.weight)
    np.testing.assert_array_equal(ours.bias, theirs.bias)
    ours, theirs = (one.view_set("default").rows for one in (both.in_bucket, both.on_disk))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("command", READS)
def test_what_is_said_of_a_bucket_is_what_is_said_of_a_folder(
    both: Both, run: Run, command: str
) -> None:
    ours, theirs = (said(run, command.format(store)) for store in (both.url, "tiny.zarr"))
    assert ours == theirs


def test_a_bucket_is_verified_exported_and_reported(both: Both, run: Run, tmp_path: Path) -> None:
    assert run(f"verify {both.url}")[0] == 0
    assert (both.folder / "tiny.html").stat().st_size > 10_000
    for store, folder in ((both.url, tmp_path / "s3"), ("tiny.zarr", tmp_path / "disk")):
        assert run(f"scores {store} --out {folder}")[0] == 0
    ours, theirs = (exported(tmp_path / name) for name in ("s3", "disk"))
    assert len(ours) == 4
    assert ours == theirs


def test_the_same_again_has_nothing_to_do(both: Both, run: Run) -> None:
    before = both.in_bucket.storage.objects("models")
    code, out, err = run("run s3.yaml --stages extract,eval,metrics extract.devices=cpu")
    assert code == 0, err
    assert "0 scores computed, 4 were there" in out
    states = [one for one in both.in_bucket.storage.objects("models") if "/c." in one.key]
    assert states == [one for one in before if "/c." in one.key]


def test_jobs_of_a_bucket_live_in_the_working_folder(both: Both, run: Run) -> None:
    code, out, err = run("slurm submit s3.yaml --cluster generic --dry-run")
    place = both.url.removeprefix("s3://").replace("/", "__")
    assert code == 0, err
    assert f"--chdir={both.folder}/{place}.runs/tiny-" in out
    code, _, err = run(f"slurm status {both.url}")
    assert code == 2
    assert f"Nothing was submitted for {both.url}" in err
    assert f"{both.folder}/{place}.runs has none" in err


def test_a_store_in_a_zip_file_is_read_where_it_is(both: Both, run: Run) -> None:
    archive = both.folder / "tiny.zip"
    with zipfile.ZipFile(archive, "w") as files:
        for path in sorted((both.folder / "tiny.zarr").rglob("*")):
            files.write(path, path.relative_to(both.folder))
    url = f"zip://tiny.zarr::{archive}"
    for command in READS:
        assert said(run, command.format(url)) == said(run, command.format("tiny.zarr"))
    assert run(f"verify {url}")[0] == 0
    lazy = [xr.open_dataset(one, engine="actstore") for one in (url, both.folder / "tiny.zarr")]
    xr.testing.assert_equal(*(one.load() for one in lazy))
    for command in (
        "collect {} --texts texts.txt",
        f"eval {{}} --suite {TASK} --pooling mean --overwrite",
    ):
        code, _, err = run(command.format(url))
        assert code == 2
        assert f"{url} is read only. Copy it first: actstore copy {url}" in err


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("info gopher://host/x.zarr", 2, "gopher:// is no kind of URL for stores. Give a path"),
        ("info s3://", 2, "s3:// names no bucket"),
        ("info s3://no-such-bucket/x.zarr", 1, "NoSuchBucket"),
        ("collect s3://no-such-bucket/x.zarr --texts texts.txt", 1, "NoSuchBucket"),
        ("status {bucket}/nothing.zarr", 2, "nothing.zarr is not an actstore store"),
        (f"{EXTRACT_TO_MEMORY} --devices cpu:2", 2, "in the memory of this process"),
    ],
)
def test_a_mistake_is_one_message(both: Both, run: Run, command: str, code: int, says: str) -> None:
    bucket = both.url.removesuffix("/deep/tiny.zarr")
    found, _, err = run(command.format(bucket=bucket))
    assert found == code
    assert says in err
    assert "Traceback" not in err


def said(run: Run, command: str) -> Any:
    """What a command says as JSON, without the store's address and times."""
    code, out, err = run(f"{command} --json")
    assert code == 0, err
    return _without(json.loads(out), {"url", "store", "jobs"})


def exported(folder: Path) -> dict[str, Any]:
    """mteb's result files, without times."""
    return {
        os.fspath(path.relative_to(folder)): _without(json.loads(path.read_text()), set())
        for path in sorted(folder.rglob("DocstringPairClassification.json"))
    }


def _without(value: Any, names: set[str]) -> Any:
    timed = ("seconds", "second", "_at", "time", "last_commit", "date", "phases")
    if isinstance(value, dict):
        return {
            key: _without(one, names)
            for key, one in value.items()
            if key not in names and not key.endswith(timed)
        }
    return [_without(one, names) for one in value] if isinstance(value, list) else value
