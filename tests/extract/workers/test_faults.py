"""Bad disks, weights and texts: each ends in a finished store or a clear error."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import normalizers
from transformers import AutoModel, AutoTokenizer, PreTrainedModel

from actstore.errors import InvalidTextError
from actstore.extract import extract
from actstore.store import create_store, open_store, verify_store
from tests.support.disks import fill, make_read_only, mount_small
from tests.support.extraction import request_of, shards
from tests.support.processes import FORK, Command, extracting, run_command, start, wait_until
from tests.support.tiny_models import tiny_texts

N_TEXTS = 200
"""Four shards."""
COMMAND = "extract s.zarr --model m --texts t.txt --batch-tokens 64 --no-lens-head"
NOT_ALLOWED = 77


@pytest.fixture
def folder(tmp_path: Path, pythia_folder: Path) -> Path:
    """A folder with a model `m` and a file of texts."""
    shutil.copytree(pythia_folder / "step0", tmp_path / "m")
    (tmp_path / "t.txt").write_text("\n".join(tiny_texts(N_TEXTS)))
    return tmp_path


def on_a_small_disk(n_bytes: int, test: Callable[[Path], None], folder: Path) -> None:
    """Run a test in a process with a disk of its own, with the folder's model and texts on it."""
    process = start(_run_on_disk, n_bytes, test, folder)
    process.join(120)
    if process.exitcode == NOT_ALLOWED:
        pytest.skip("mounting a file system is not allowed here")
    assert process.exitcode == 0


def _run_on_disk(n_bytes: int, test: Callable[[Path], None], folder: Path) -> None:
    disk = folder / "disk"
    try:
        mount_small(disk, n_bytes)
    except PermissionError:
        sys.exit(NOT_ALLOWED)
    for name in ("m", "t.txt"):
        (disk / name).symlink_to(folder / name)
    test(disk)


def test_a_disk_too_small_for_the_plan_is_refused(folder: Path) -> None:
    on_a_small_disk(150_000, _refused_by_the_plan, folder)


def _refused_by_the_plan(disk: Path) -> None:
    code, said = run_command(disk, COMMAND, context=FORK)
    assert (code, "Traceback" in said) == (1, False), said
    assert "Error: The extraction writes" in said, said
    assert "Choose fewer checkpoints, layers or poolings" in said
    assert open_store(disk / "s.zarr").models() == []


@pytest.mark.parametrize("devices", ["cpu", pytest.param("cpu:2", marks=pytest.mark.slow)])
def test_a_disk_that_fills_up_meanwhile_is_named_and_the_run_can_be_gone_on_with(
    devices: str, folder: Path
) -> None:
    test = {"cpu": _filled_up, "cpu:2": _filled_up_under_two_workers}[devices]
    on_a_small_disk(4_000_000, test, folder)


def _filled_up(disk: Path, devices: str = "cpu") -> None:
    command = Command(disk, f"{COMMAND} --devices {devices}", context=FORK)
    wait_until(lambda: extracting(disk / "s.zarr"))
    ballast = fill(disk)
    code, said = command.end()
    assert (code, "Traceback" in said) == (1, False), said
    assert "s.zarr/" in said
    assert "No space left on device. Make space there" in said
    assert not list(disk.rglob("*.partial"))
    ballast.unlink()
    assert run_command(disk, COMMAND, context=FORK) == (0, "")
    whole = create_store(disk / "whole.zarr")
    whole.add_texts(tiny_texts(N_TEXTS))
    extract(whole, request_of(disk / "m", batch_tokens=64))
    assert shards(disk / "s.zarr") == shards(whole.path)
    assert verify_store(open_store(disk / "s.zarr")).problems == ()


def _filled_up_under_two_workers(disk: Path) -> None:
    _filled_up(disk, "cpu:2")


def test_a_read_only_store_is_named(folder: Path) -> None:
    on_a_small_disk(4_000_000, _read_only, folder)


def _read_only(disk: Path) -> None:
    assert run_command(disk, "collect s.zarr --texts t.txt", context=FORK)[0] == 0
    make_read_only(disk)
    for command in (COMMAND, "extract s.zarr --model m"):
        code, said = run_command(disk, command, context=FORK)
        assert (code, "Traceback" in said) == (1, False), said
        assert "s.zarr/" in said
        assert "Read-only file system. Copy the store to where it can be written" in said


def with_weights(folder: Path, change: Callable[[PreTrainedModel], object]) -> None:
    """Change the weights of the folder's model."""
    model = AutoModel.from_pretrained(folder / "m")
    with torch.no_grad():
        change(model)
    model.save_pretrained(folder / "m")


def test_weights_that_are_nan_are_named(folder: Path) -> None:
    name = "layers.1.mlp.dense_h_to_4h.weight"
    with_weights(folder, lambda model: model.get_parameter(name).fill_(float("nan")))
    code, said = run_command(folder, COMMAND)
    assert (code, "Traceback" in said) == (1, False), said
    assert f"{name} of m at main holds infinite or NaN values" in said


def test_weights_that_give_nan_for_some_texts_name_layer_texts_and_checkpoint(
    folder: Path,
) -> None:
    token = AutoTokenizer.from_pretrained(folder / "m")("199:")["input_ids"][-2]
    texts = tiny_texts(N_TEXTS)
    tokens = AutoTokenizer.from_pretrained(folder / "m")(texts)["input_ids"]
    first = next(row for row, ids in enumerate(tokens) if token in ids)
    with_weights(
        folder, lambda model: model.get_input_embeddings().weight[token].fill_(float("nan"))
    )
    code, said = run_command(folder, COMMAND)
    assert (code, "Traceback" in said) == (1, False), said
    assert "States of layer 0" in said
    assert "infinite or NaN" in said
    assert "of m at main" in said
    assert first // 64 == int(said.partition("while extracting the shard ")[2].split(":")[0]) // 64
    group = open_store(folder / "s.zarr").checkpoint("m", "main")
    assert group.committed("mean") == set(range(first // 64))


@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_a_truncated_weights_file_is_named(keep: float, folder: Path) -> None:
    file = folder / "m" / "model.safetensors"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * keep)])
    code, said = run_command(folder, COMMAND)
    assert (code, "Traceback" in said) == (2, False), said
    assert "m/model.safetensors" in said
    assert open_store(folder / "s.zarr").models() == []


def test_weights_with_a_broken_header_are_named(folder: Path) -> None:
    file = folder / "m" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[8:40] = b"\xff" * 32
    file.write_bytes(data)
    code, said = run_command(folder, COMMAND)
    assert (code, "Traceback" in said) == (2, False), said
    assert "m/model.safetensors" in said


def test_a_revision_that_does_not_exist_is_named(folder: Path) -> None:
    code, said = run_command(folder, f"{COMMAND} --checkpoints step7")
    assert (code, "Traceback" in said, "step7" in said) == (2, False, True), said


def test_texts_of_one_token_and_of_100000_characters_are_extracted(folder: Path) -> None:
    store, tokenizer = create_store(folder / "s.zarr"), AutoTokenizer.from_pretrained(folder / "m")
    assert tokenizer.pad_token is None
    long = "the store holds every layer " * 4000
    store.add_texts(["a", long[:100_000], "the store"])
    poolings = ("mean", "first", "last")
    report = extract(store, request_of(folder / "m", poolings=poolings, dtype="float32"))
    assert report.checkpoints[0].n_truncated == 1
    assert store.text_lengths("m")["n_tokens"].tolist()[:2] == [1, 64]
    group = store.checkpoint("m", "main")
    for layer in group.layers:
        one = [group.read(pooling, layer, np.array([0])) for pooling in poolings]
        np.testing.assert_array_equal(one[0], one[1])
        np.testing.assert_array_equal(one[0], one[2])
        assert np.isfinite(group.read("mean", layer, np.arange(3))).all()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.txt", b"fine\nbro\xffken\n", "t.txt is not UTF-8 (byte 8). Convert it: iconv"),
        ("t.jsonl", b'{"text": "lone \\ud800 surrogate"}\n', "no valid Unicode at character 5"),
        ("t.jsonl", b'{"text": ""}\n', "line 1"),
    ],
)
def test_a_file_of_texts_that_are_no_unicode_is_refused(
    name: str, content: bytes, says: str, folder: Path
) -> None:
    (folder / name).write_bytes(content)
    code, said = run_command(folder, f"extract s.zarr --model m --texts {name}")
    assert (code, "Traceback" in said) == (2, False), said
    assert says in said
    assert not (folder / "s.zarr").exists() or not len(open_store(folder / "s.zarr").text_rows())


def test_a_text_without_tokens_stops_its_shard_alone(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder / "m")
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("\u200b", "")
    tokenizer.save_pretrained(folder / "m")
    texts = tiny_texts(N_TEXTS)
    texts[100] = "\u200b"
    (folder / "t.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    command = COMMAND.replace("t.txt", "t.jsonl")
    code, said = run_command(folder, command)
    assert (code, "Traceback" in said) == (2, False), said
    assert "the first in row 100" in said
    assert "while extracting the shard 64:128 of m at main" in said
    store = open_store(folder / "s.zarr")
    assert store.checkpoint("m", "main").committed("mean") == {0}
    others = np.array([0, 130, 199])
    report = extract(store, request_of(folder / "m", rows=others)).checkpoints[0]
    assert (report.shards_written, report.shards_kept) == (2, 1)
    with pytest.raises(InvalidTextError, match="row 100"):
        extract(store, request_of(folder / "m"))
