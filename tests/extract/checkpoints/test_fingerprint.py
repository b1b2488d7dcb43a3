"""What identifies weights: their tensors, wherever and in however many files they lie."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from actstore.errors import InvalidInputError
from actstore.extract.checkpoints.fingerprint import tensors_of, weights_digest, weights_identity
from actstore.extract.checkpoints.sources import Source, find_source
from tests.support.hub import put_revision, use_cache


def source_of(folder: Path) -> Source:
    return find_source(str(folder), "main")


@pytest.fixture
def folder(tmp_path: Path, pythia_folder: Path) -> Path:
    """A copy to change."""
    shutil.copytree(pythia_folder / "step0", tmp_path / "m")
    return tmp_path / "m"


def resaved(folder: Path, tensors: dict[str, torch.Tensor], note: str = "") -> str:
    save_file(tensors, folder / "model.safetensors", {"format": "pt", "note": note})
    return weights_digest(source_of(folder))


def test_the_digest_is_of_the_content_wherever_it_lies(
    pythia_folder: Path, hub_model: tuple[str, dict[str, str]]
) -> None:
    on_hub = weights_digest(find_source(hub_model[0], "step16"))
    in_folder = weights_digest(find_source(str(pythia_folder), "step16"))
    other = weights_digest(find_source(str(pythia_folder), "step0"))
    assert on_hub == in_folder != other
    assert len(on_hub) == 32


def test_metadata_order_and_split_make_no_difference(folder: Path) -> None:
    digest, tensors = weights_digest(source_of(folder)), load_file(folder / "model.safetensors")
    assert resaved(folder, dict(reversed(tensors.items())), "another") == digest
    model = AutoModel.from_pretrained(folder)
    whole = folder.parent / "whole"
    model.save_pretrained(whole)
    model.save_pretrained(folder.parent / "split", max_shard_size="20KB")
    assert len(list((folder.parent / "split").glob("*.safetensors"))) > 1
    assert weights_digest(source_of(whole)) == weights_digest(source_of(folder.parent / "split"))


def test_a_bit_a_name_a_shape_and_a_dtype_all_count(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = "gpt_neox.layers.1.mlp.dense_h_to_4h.weight"
    flipped = tensors[name].clone()
    flipped.view(torch.int32)[30, 15] ^= 1
    digests = [
        resaved(folder, tensors),
        resaved(folder, tensors | {name: flipped}),
        resaved(folder, tensors | {name: tensors[name].reshape(32, 64)}),
        resaved(folder, tensors | {name: tensors[name].view(torch.int32)}),
        resaved(folder, {k.replace(name, "x"): v for k, v in tensors.items()}),
        resaved(folder, {k: v for k, v in tensors.items() if k != name}),
        resaved(folder, {k: v.bfloat16() for k, v in tensors.items()}),
    ]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int64])
@pytest.mark.parametrize("legacy", [False, True])
def test_converting_pickled_weights_leaves_their_digest(
    folder: Path, dtype: torch.dtype, legacy: bool
) -> None:
    tensors = {k: v.to(dtype) for k, v in load_file(folder / "model.safetensors").items()}
    tensors |= {"empty": torch.empty(0, 3), "flag": torch.tensor(True), "one": torch.ones(())}
    digest = resaved(folder, tensors)
    sampled = tensors_of(folder / "model.safetensors", sampled=True)
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
    assert weights_digest(source_of(folder), pickled=True) == digest
    assert sorted(tensors_of(folder / "pytorch_model.bin", sampled=True)) == sorted(sampled)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("damage", ["empty", "header", "cut", "text", "list"])
def test_a_damaged_file_is_named(folder: Path, name: str, damage: str) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    path = folder / name
    whole = path.read_bytes()
    content = {
        "empty": b"",
        "header": whole[:30],
        "cut": whole[:-1000],
        "text": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "list": b"\x02\0\0\0\0\0\0\0[]",
    }[damage]
    path.write_bytes(content)
    if name == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
    with pytest.raises(InvalidInputError, match=rf"{name}: .*\. The file is cut short .*download"):
        weights_digest(source_of(folder), pickled=True)


def test_code_in_a_pickle_is_not_run(folder: Path) -> None:
    class Touch:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(folder / "ran"),)

    (folder / "model.safetensors").unlink()
    torch.save({"weight": Touch()}, folder / "pytorch_model.bin")
    with pytest.raises(InvalidInputError, match="pytorch_model.bin"):
        weights_digest(source_of(folder), pickled=True)
    assert not (folder / "ran").exists()


def test_a_file_that_an_index_names_must_be_there(folder: Path) -> None:
    model = AutoModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    sorted(folder.glob("model-*.safetensors"))[1].unlink()
    with pytest.raises(InvalidInputError, match="has no file model-00002-of"):
        weights_digest(source_of(folder))
    (folder / "model.safetensors.index.json").write_text("{}", "utf-8")
    with pytest.raises(InvalidInputError, match=r"Cannot read model\.safetensors\.index\.json"):
        weights_digest(source_of(folder))


def test_the_identity_of_a_folders_weights_changes_when_they_are_written(folder: Path) -> None:
    source = source_of(folder)
    first = weights_identity(source)
    assert first == weights_identity(source)
    assert first[0][:2] == ["model.safetensors", (folder / "model.safetensors").stat().st_size]
    status = (folder / "model.safetensors").stat()
    os.utime(folder / "model.safetensors", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert weights_identity(source) != first


def test_the_identity_of_hub_weights_is_their_blobs(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cache in ("a", "b"):
        put_revision(tmp_path / cache, "org/m", folder, "main")
    use_cache(monkeypatch, tmp_path / "a")
    first = weights_identity(find_source("org/m", "main"))
    use_cache(monkeypatch, tmp_path / "b")
    assert weights_identity(find_source("org/m", "main")) == first
    assert len(first[0][2]) == 64
