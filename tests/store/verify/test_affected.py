"""What verify says of damage, in the user's words, and the commands that it names."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from actstore.store import Store, open_store, verify_store
from actstore.store.sharing.leases import Leases
from tests.metrics.small_store import MODEL
from tests.store.moving.full_store import full_store
from tests.support.states import commit_known, known_store, spec


def _flip(path: Path, at: int = 100) -> None:
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 1
    path.unlink()
    path.write_bytes(bytes(data))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return full_store(tmp_path)


def _of(store: Store, checkpoint: str) -> Path:
    return store.path / "models/someone__small" / checkpoint


def test_a_problem_names_layers_texts_and_the_tasks_that_use_them(store: Store) -> None:
    group = store.checkpoint(MODEL, "step0")
    stride = group.layout.stride
    _flip(_of(store, "step0") / "mean_pool/c.0.0.0", stride + 10)
    _flip(_of(store, "step0") / "mean_pool/c.0.0.0", 3 * stride + 10)
    (problem,) = verify_store(store).problems
    assert (problem.layers, problem.rows, problem.n_texts) == ((1, 3), (0, 64), 64)
    assert problem.tasks == ("Near",)


def test_a_missing_shard_concerns_all_layers(store: Store) -> None:
    (_of(store, "step1000") / "mean_pool/c.0.3.0").unlink()
    (problem,) = verify_store(store, quick=True).problems
    assert (problem.layers, problem.n_texts, problem.tasks) == ((0, 1, 2, 3), 38, ("Far",))


def test_a_token_sample_says_how_many_texts_lose_tokens(store: Store) -> None:
    sample = store.checkpoint(MODEL, "step0").token_sample("sample")
    (_of(store, "step0") / "tokens/sample/states/c.0.0.0").unlink()
    (problem,) = verify_store(store).problems
    here = sample.row[: sample.layout.rows_per_shard]
    assert problem.n_texts == len(np.unique(here[here >= 0]))
    assert "--tokens-name sample" in problem.command


def test_damage_to_several_arrays_and_checkpoints_takes_one_command(store: Store) -> None:
    for checkpoint in ("step0", "step1000"):
        _flip(_of(store, checkpoint) / "mean_pool/c.0.1.0")
        _flip(_of(store, checkpoint) / "curvature/c.0.1")
    report = verify_store(store)
    assert len(report.problems) == 4
    (command,) = report.commands()
    again = shlex.split(command.partition(" && ")[2])
    assert again[:3] == ["actstore", "extract", store.url]
    assert again[again.index("--checkpoints") + 1] == "step0,step1000"
    assert {"--token-metrics", "--no-lens-head", "--dtype", "--max-tokens"} <= {*again}


def test_the_command_asks_for_a_suite_where_only_its_texts_were_extracted(tmp_path: Path) -> None:
    store, group = known_store(tmp_path / "s.zarr")
    other = store.begin_checkpoint(spec(checkpoint="step2"))
    other.begin_poolings(["mean"])
    for shard in other.todo(np.arange(100), ["mean"]):
        commit_known(other, shard, ("mean",))
    _add_task(store, "Near", range(100))
    store.write_suite("near", {"tasks": [{"name": "Near"}]})
    (store.path / other.prefix / "mean_pool/c.0.0.0").unlink()
    (problem,) = verify_store(open_store(store.url)).problems
    assert "--suite near " in problem.command
    (store.path / group.prefix / "mean_pool/c.0.0.0").unlink()
    of_all = verify_store(store, checkpoints=["step1"]).problems
    assert [one.checkpoint for one in of_all] == ["step1"]
    assert "--suite" not in of_all[0].command


def _add_task(store: Store, name: str, rows: range) -> None:
    calls = {"split": ["test"], "subset": [""], "prompt_type": [""], "rows": [[*rows]]}
    store.write_task(name, {}, pa.table(calls), {})


def test_what_no_command_makes_again_is_to_be_restored_and_never_removed(store: Store) -> None:
    part = store.path / "texts/part-00000.parquet"
    _flip(part)
    report = verify_store(store, repair=True)
    problems = [one for one in report.problems if one.array == "texts"]
    assert [one.command for one in problems] == ["restore texts/part-00000.parquet from a copy"]
    assert part.exists()


def test_shards_without_a_record_are_noted_and_are_no_damage(store: Store) -> None:
    for journal in _of(store, "step0").glob("ledger/*.jsonl"):
        journal.unlink()
    report = verify_store(store, model=MODEL, checkpoints=["step0"])
    assert not [one for one in report.problems if one.rows]
    (pooled,) = [note for note in report.notes if "mean_pool" in note.what]
    assert "--pooling mean" in pooled.what
    shards = list((_of(store, "step0") / "mean_pool").glob("c.*"))
    assert pooled.n == len(shards)


def test_a_damaged_line_of_a_ledger_hides_no_other_damage(store: Store) -> None:
    (journal,) = _of(store, "step0").glob("ledger/*.jsonl")
    _flip(journal, 20)
    (_of(store, "step0") / "mean_pool/c.0.3.0").unlink()
    found = {one.array for one in verify_store(store).problems}
    assert {"ledger", "mean_pool"} <= found


def test_repair_keeps_the_sound_lines_of_a_journal(store: Store) -> None:
    (journal,) = _of(store, "step0").glob("ledger/*.jsonl")
    n_lines = journal.read_bytes().count(b"\n")
    _flip(journal, 20)
    report = verify_store(store, repair=True)
    (repaired,) = (one for one in report.repaired if one.key.endswith(journal.name))
    assert repaired.what == f"1 damaged lines removed, {n_lines - 1} kept"
    assert journal.read_bytes().count(b"\n") == n_lines - 1
    assert not [one for one in verify_store(store).problems if one.array == "ledger"]


def test_what_a_working_run_holds_is_left_alone(store: Store) -> None:
    (_of(store, "step0") / "mean_pool/c.0.1.0").write_bytes(b"")
    with Leases(store.storage, seconds=60, host="another-node") as leases:
        assert leases.claim(f"{MODEL}/step0/pooled/1") is not None
        report = verify_store(store, repair=True)
    assert [one.what.partition(":")[0] for one in report.repaired] == ["left alone"]
    assert (_of(store, "step0") / "mean_pool/c.0.1.0").exists()


def test_strangers_and_unfinished_things_are_noted(store: Store) -> None:
    (store.path / "notes.txt").write_text("mine")
    (store.path / "tasks/Near/manifest.json").unlink()
    notes = {note.example for note in verify_store(store).notes}
    assert "notes.txt" in notes
    assert any(example.startswith("tasks/Near/") for example in notes)
    assert verify_store(store).problems == ()
