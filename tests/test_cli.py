"""The commands as a user types them: what they print, write and answer to mistakes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import actstore
from tests.support.command_line import Run, command_line
from tests.support.hub import use_cache
from tests.support.tiny_models import save_tiny_model, tiny_texts


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    use_cache(monkeypatch, tmp_path / "hub")
    return command_line(monkeypatch, capsys, tmp_path)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny GPT-NeoX `neox` of the checkpoints step0 and step10, and texts."""
    folder = tmp_path_factory.mktemp("cli")
    save_tiny_model(folder / "neox", "gpt_neox", checkpoints=("step0", "step10"))
    (folder / "texts.txt").write_text("\n".join(tiny_texts(100)), "utf-8")
    return folder


@pytest.fixture
def model(template: Path, tmp_path: Path) -> None:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)


@pytest.fixture(scope="session")
def template_with_store(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, and a store `s.zarr` of the checkpoint step0."""
    folder = tmp_path_factory.mktemp("cli") / "folder"
    shutil.copytree(template, folder)
    command = [sys.executable, "-m", "actstore", *f"{STEP0} --texts texts.txt".split()]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def store(template_with_store: Path, tmp_path: Path) -> None:
    shutil.copytree(template_with_store, tmp_path, dirs_exist_ok=True)


STEP0 = "extract s.zarr --model neox --checkpoints step0"
EXTRACT = "extract s.zarr --model neox --checkpoints step0,step10 --texts texts.txt"


@pytest.mark.usefixtures("model")
def test_from_texts_to_metrics_and_back(run: Run, tmp_path: Path) -> None:
    code, out, err = run(f"{EXTRACT} --tokens 8")
    assert (code, err) == (0, "")
    assert "step10" in out
    code, out, _ = run("info s.zarr --json")
    described = json.loads(out)
    assert code == 0
    assert described["n_texts"] == 100
    assert [c["checkpoint"] for c in described["models"][0]["checkpoints"]] == ["step0", "step10"]
    assert described["models"][0]["checkpoints"][0]["layers"] == [0, 1, 2, 3]
    code, out, _ = run("status s.zarr --json")
    (neox,) = json.loads(out)["models"]
    arrays = [array for checkpoint in neox["checkpoints"] for array in checkpoint["arrays"]]
    assert {("mean_pool", 2, 2), ("mean_normed_pool", 2, 2)} < {
        (one["array"], one["done"], one["total"]) for one in arrays
    }
    assert all(one["done"] == one["total"] > 0 for one in arrays)
    code, out, err = run("metrics s.zarr")
    assert (code, err) == (0, "")
    values = actstore.open_store(tmp_path / "s.zarr").metrics()
    assert {"effective_rank", "prompt_entropy", "lens_kl_layer_to_final"} <= set(
        values["metric"].values
    )
    assert run("verify s.zarr")[0] == 0
    code, out, _ = run("report s.zarr --out report.html")
    assert code == 0
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.usefixtures("model")
def test_the_same_extraction_again_has_nothing_to_do(run: Run, tmp_path: Path) -> None:
    run(EXTRACT)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*_pool/c.*")}
    assert run(EXTRACT)[0] == 0
    assert len(before) == 8
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*_pool/c.*")} == before


@pytest.mark.usefixtures("model")
def test_a_plan_says_what_would_be_written_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    run("collect s.zarr --texts texts.txt")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run(
        "plan s.zarr --model neox --checkpoints step0,step10 --max-tokens 16 --json"
    )
    assert (code, err) == (0, "")
    planned = json.loads(out)
    assert planned["n_texts"] == 100
    assert planned["n_truncated"] > 0
    assert [c["shards_to_do"] for c in planned["checkpoints"]] == [2, 2]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("info nowhere.zarr", 2, "nowhere.zarr is not an actstore store"),
        ("info texts.txt", 2, "texts.txt is not an actstore store"),
        ("extract s.zarr --model neox --checkpoints step1", 2, "step1.*step10"),
        (f"{STEP0} --layers 9", 2, "no layer 9"),
        (f"{STEP0} --layers a-b", 2, "Cannot read 'a-b'"),
        (f"{STEP0} --pooling maen", 2, "mean"),
        ("extract s.zarr --model nix --checkpoints step0", 2, "nix"),
        (f"{STEP0} --dtype int8", 2, "int8.*float16"),
        (
            f"{STEP0} --max-tokens 8",
            2,
            "max_tokens: .*64.* 8",
        ),
        (
            "extract new.zarr --model neox --checkpoints step0 --texts texts.txt --devices warp",
            2,
            "warp",
        ),
        ("extract s.zarr --model neox --texts none.txt", 2, "none.txt"),
        ("collect s.zarr --suite layer-by-lair", 2, "layer-by-layer"),
        ("collect s.zarr", 2, "--suite or --texts"),
        ("eval s.zarr --suite STS21", 2, "STS12|STS22"),
        ("eval s.zarr --suite STS12", 2, "actstore collect s.zarr --suite"),
        ("metrics s.zarr --metric efective_rank", 2, "effective_rank"),
        ("metrics s.zarr --metric curvature", 3, "--tokens 200"),
        ("metrics s.zarr --checkpoints step7", 2, "step7"),
        ("metrics s.zarr --layers 7", 2, "layer"),
        ("metrics s.zarr --pooling last", 2, "last.*actstore extract"),
        ("report s.zarr", 2, "actstore eval s.zarr"),
    ],
)
def test_a_mistake_is_answered_with_a_message_not_a_traceback(
    run: Run, command: str, code: int, says: str
) -> None:
    run(f"{STEP0} --texts texts.txt")
    got, _, err = run(command)
    assert re.search(says, err), err
    assert "Traceback" not in err
    assert got == code


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    "command",
    [
        "collect new.zarr",
        "collect new.zarr --texts none.txt",
        "collect new.zarr --suite layer-by-lair",
        "extract new.zarr --model neox",
        "extract new.zarr --model neox --texts none.txt",
        "extract new.zarr --model neox --suite layer-by-lair",
        "plan new.zarr --model neox",
    ],
)
def test_a_mistake_leaves_no_store_behind(run: Run, tmp_path: Path, command: str) -> None:
    assert run(command)[0] == 2
    assert not (tmp_path / "new.zarr").exists()


@pytest.mark.usefixtures("model")
def test_an_empty_text_in_a_file_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": "fine"}\n{"text": ""}\n')
    code, _, err = run(f"{STEP0} --texts bad.jsonl")
    assert code == 2
    assert "line 2" in err


@pytest.mark.usefixtures("model")
def test_a_cut_text_is_counted_and_shown(run: Run) -> None:
    code, out, _ = run(f"{EXTRACT} --max-tokens 16")
    assert code == 0
    cut = json.loads(run("info s.zarr --json")[1])["models"][0]["n_truncated"]
    assert cut > 0
    assert f"{cut}" in out


@pytest.mark.usefixtures("model")
def test_damage_is_reported_with_its_own_exit_code(run: Run, tmp_path: Path) -> None:
    run(EXTRACT)
    (shard, *_) = sorted((tmp_path / "s.zarr").rglob("mean_pool/c.*"))
    data = bytearray(shard.read_bytes())
    data[10] ^= 1
    shard.write_bytes(bytes(data))
    code, out, _ = run("verify s.zarr")
    assert code == 4
    assert "actstore verify s.zarr --repair" in out.replace("\n", " ")
    assert run("verify s.zarr --repair")[0] == 4
    assert run(EXTRACT)[0] == 0
    assert run("verify s.zarr")[0] == 0


def test_a_missing_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mteb", None)
    for name in [name for name in sys.modules if name.startswith("actstore.evaluate")]:
        monkeypatch.delitem(sys.modules, name)
    code, _, err = run("collect s.zarr --suite STS12")
    assert code == 2
    assert "pip install 'actstore[eval]'" in err


COMMANDS = (
    *("suites", "fetch", "collect", "plan", "extract", "eval", "scores", "compare"),
    *(
        "metrics",
        "info",
        "status",
        "verify",
        "report",
        "demo",
        "search",
        "tables",
        "plot",
        "export",
    ),
    *("copy", "merge", "push", "pull", "drop", "views", "lens", "fit-lens", "run", "slurm"),
)


def test_help_names_every_command_and_the_exit_codes() -> None:
    command = [sys.executable, "-m", "actstore", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for name in COMMANDS:
        assert re.search(rf"\b{name}\b", done.stdout)
    assert "Exit codes" in done.stdout
