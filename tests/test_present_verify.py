"""What `actstore verify` prints."""

from __future__ import annotations

import json

import pytest

from actstore.present import terminal
from actstore.present.verify import as_document, show_recomputed, show_verification
from actstore.store import Note, Problem, Repaired, VerifyReport
from actstore.store.verify.remedies import Remedy


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal.console, "width", 250)


def _problem(checkpoint: str, shard: int) -> Problem:
    remedy = Remedy("s.zarr", "org/m", (), (), "", (checkpoint,), ("mean",))
    return Problem(
        key=f"models/org__m/{checkpoint}/mean_pool/c.0.{shard}.0",
        what="it is missing",
        array="mean_pool",
        remade=True,
        command=remedy.command(),
        model="org/m",
        checkpoint=checkpoint,
        rows=(shard * 64, (shard + 1) * 64),
        layers=(0, 1, 2),
        n_texts=64,
        tasks=("STS12", "STS13", "Banking77"),
        remedy=remedy,
    )


def _report(*problems: Problem, **more: object) -> VerifyReport:
    suites = {"sts": ("STS12", "STS13")}
    return VerifyReport(9, 1_000, 0, 0, problems, suites=suites, **more)  # type: ignore[arg-type]


def test_a_sound_store_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_verification(_report())
    assert capsys.readouterr().out == "9 shards (1.0 kB) and 0 lens heads, 0 objects damaged\n"


def test_ten_thousand_damaged_shards_are_a_short_table_and_one_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    problems = [_problem(f"step{step}", shard) for step in range(100) for shard in range(100)]
    show_verification(_report(*problems))
    out = capsys.readouterr().out
    assert len(out.splitlines()) < 60
    assert "10,000 objects damaged" in out
    assert "0:6,400" in out
    assert "0-2" in out
    assert "all tasks of sts, Banking77" in out
    assert "and 60 more" in out
    assert out.count("actstore extract") == 1
    assert ",".join(f"step{step}" for step in range(100)) in out


def test_what_cannot_be_made_again_notes_and_repairs_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = Problem("texts/p", "it is empty", "texts", False, "restore texts/p from a copy")
    notes, repaired = (Note("not ours", 2, "a.txt"),), (Repaired("k", "removed"),)
    show_verification(_report(text, notes=notes, repaired=repaired))
    out = capsys.readouterr().out
    assert "it is empty (texts/p)" in out
    assert "No command makes these again:\n  restore texts/p from a copy\n" in out
    assert "Note: 2 objects, such as a.txt: not ours" in out
    assert "1 object: removed" in out


def test_json_has_every_problem() -> None:
    document = as_document(_report(*[_problem("main", shard) for shard in range(3)]), [])
    assert len(json.loads(json.dumps(document))["problems"]) == 3
    assert document["commands"] == [_problem("main", 0).command]


def test_shards_that_were_extracted_again_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    from actstore.extract import Recomputed

    same = Recomputed("m", "main", "mean_pool", (0, 64), True, 0.0)
    near = Recomputed("m", "main", "mean_pool", (64, 128), False, 0.001)
    other = Recomputed("m", "main", "mean_pool", (128, 192), False, 1.3)
    show_recomputed([same, near, other])
    out = capsys.readouterr().out
    assert "3 arrays of shards extracted again: 1 agree to the last bit" in out
    assert "1 differ by rounding: by 0.001 of a state's length at most" in out
    assert "128:192" in out
