from __future__ import annotations

import threading
from pathlib import Path

import pytest

from actstore.experiment.load import load_experiment
from actstore.experiment.record import experiment_digest, record_experiment, resolved_yaml
from actstore.store import create_store, open_store, verify_store

_FILE = """\
name: small
description: 'a: "b" 24:00:00 é'
store: s.zarr
model: org/m
suite: demo
cluster: {stages: {extract: {time: 24:00:00, extra: ["--mail-type=FAIL"]}}}
"""


def _file(folder: Path, text: str = _FILE) -> Path:
    path = folder / "e.yaml"
    path.write_text(text, "utf-8")
    return path


def test_a_resolved_experiment_is_read_the_same_anywhere(tmp_path: Path) -> None:
    made = load_experiment(_file(tmp_path), ["extract.dtype=float32"])
    elsewhere = tmp_path / "runs"
    elsewhere.mkdir()
    again = load_experiment(_file(elsewhere, resolved_yaml(made)))
    assert again == made
    assert resolved_yaml(again) == resolved_yaml(made)


def test_the_digest_is_of_what_is_said_not_of_how(tmp_path: Path) -> None:
    digest = experiment_digest(load_experiment(_file(tmp_path)))
    other = "\n".join([*reversed(_FILE.splitlines()), "layers: all  # the default"])
    assert experiment_digest(load_experiment(_file(tmp_path, other))) == digest
    assert experiment_digest(load_experiment(_file(tmp_path), ["layers=1"])) != digest
    assert len(digest) == 32


def test_an_experiment_is_kept_once_with_the_environment_of_its_first_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = load_experiment(_file(tmp_path))
    store = create_store(made.store)
    assert store.experiments() == []
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    digest = record_experiment(store, made)
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    assert record_experiment(store, made) == digest
    [kept] = open_store(made.store).experiments()
    assert (kept.digest, kept.name, kept.yaml) == (digest, "small", resolved_yaml(made))
    variables = kept.environment["variables"]
    assert isinstance(variables, dict)
    assert variables["SLURM_JOB_ID"] == "7"
    assert load_experiment(store.path / "experiments" / f"{digest}.yaml") == made


def test_experiments_are_listed_as_they_came(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    for name in ("b", "a"):
        record_experiment(store, load_experiment(_file(tmp_path), [f"name={name}"]))
    assert [one.name for one in store.experiments()] == ["b", "a"]
    assert verify_store(store).problems == ()


def test_processes_that_start_together_keep_it_once(tmp_path: Path) -> None:
    made = load_experiment(_file(tmp_path))
    create_store(made.store)
    threads = [
        threading.Thread(target=lambda: record_experiment(open_store(made.store), made))
        for _ in range(8)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(open_store(made.store).experiments()) == 1


def test_one_that_was_killed_while_it_was_kept_is_kept_by_the_next(tmp_path: Path) -> None:
    made = load_experiment(_file(tmp_path))
    store = create_store(made.store)
    digest = record_experiment(store, made)
    (store.path / "experiments" / f"{digest}.json").unlink()
    assert store.experiments() == []
    record_experiment(store, made)
    assert [one.digest for one in store.experiments()] == [digest]
