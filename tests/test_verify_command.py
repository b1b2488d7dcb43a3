"""`actstore verify` as a user types it, on a store that was extracted."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.support.command_line import Run, command_line
from tests.support.hub import use_cache
from tests.support.tiny_models import save_tiny_model, tiny_texts

EXTRACT = (
    "extract s.zarr --model models/neox --checkpoints step0 --texts texts.txt --pooling mean "
    "--tokens 12 --seed 3 --threads 1 --no-lens-head"
)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Commands in a folder with a model and a store of 100 texts."""
    save_tiny_model(tmp_path / "models/neox", "gpt_neox", checkpoints=("step0",))
    (tmp_path / "texts.txt").write_text("\n".join(tiny_texts(100)), "utf-8")
    use_cache(monkeypatch, tmp_path / "hub")
    run = command_line(monkeypatch, capsys, tmp_path)
    assert run(EXTRACT)[0] == 0
    return run


def test_the_printed_command_makes_the_store_whole_again(run: Run, tmp_path: Path) -> None:
    before = {p: p.read_bytes() for p in tmp_path.glob("s.zarr/models/**/c.*")}
    for array in ("mean_pool", "tokens/sample/states"):
        shard = tmp_path / "s.zarr/models/neox/step0" / array / "c.0.0.0"
        shard.write_bytes(bytes(shard.stat().st_size))
    code, out, _ = run("verify s.zarr --json")
    found = json.loads(out)
    assert code == 4
    assert len(found["problems"]) == 2
    for command in found["commands"]:
        repair, _, extract = command.partition(" && ")
        assert run(repair.removeprefix("actstore "))[0] in (0, 4)
        assert run(" ".join(shlex.split(extract)[1:]))[0] == 0
    assert run("verify s.zarr")[0] == 0
    assert {p: p.read_bytes() for p in before} == before


def test_deep_says_how_many_shards_agree(run: Run) -> None:
    code, out, _ = run("verify s.zarr --deep 100%")
    assert code == 0
    assert "2 arrays of shards extracted again: 2 agree to the last bit" in out


def test_quick_and_deep_are_not_both_given(run: Run) -> None:
    code, _, error = run("verify s.zarr --quick --deep 3")
    assert code != 0
    assert "--quick or --deep" in error


def test_a_checkpoint_that_is_not_there_is_named(run: Run) -> None:
    code, _, error = run("verify s.zarr --checkpoints step7")
    assert code != 0
    assert "step7" in error
