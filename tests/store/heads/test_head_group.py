"""Lens heads on disk: what checkpoints share, and damage that is found."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from numpy.typing import NDArray

from actstore.errors import CorruptShardError
from actstore.store import CheckpointGroup, LensHead, Store, create_store, open_store, verify_store
from actstore.store.arrays.zarr_metadata import (
    read_attributes,
    write_group,
)
from actstore.store.heads.head_ops import LayerNorm, Linear, RmsNorm
from tests.support.states import MODEL, spec

OPS = (LayerNorm("norm.gain", "norm.bias", 1e-5), Linear("lm_head.weight", None))
BLOCK_NORM = RmsNorm("block.gain", "block.bias", 1e-6)
STEPS = ("step1", "step2", "step3")
VOCABULARY = 9000
"""More than two chunks."""
Arrays = Mapping[str, NDArray[np.floating]]


def arrays(seed: int = 0) -> dict[str, NDArray[np.floating]]:
    rng = np.random.default_rng(seed)
    return {
        "norm.gain": rng.standard_normal(8, np.float32),
        "norm.bias": np.zeros(8, np.float16),
        "lm_head.weight": rng.standard_normal((VOCABULARY, 8), np.float32).astype(np.float16),
    }


def store_of_heads(path: Path, *heads: Arrays) -> Store:
    """A store whose checkpoints have these heads, in order."""
    store = create_store(path)
    store.add_texts(["a text"])
    for step, of_step in zip(STEPS, heads, strict=False):
        store.begin_checkpoint(spec(checkpoint=step)).write_head(LensHead(OPS, of_step, 1e-6))
    return store


def group_of(store: Store, step: str) -> CheckpointGroup:
    return open_store(store.url).checkpoint(MODEL, step)


def folder_of(store: Store, step: str) -> Path:
    return store.path / "models/org__model" / step / "head"


def files(store: Store, step: str, array: str) -> dict[str, int]:
    """The inode of each chunk of an array."""
    chunks = (folder_of(store, step) / array).glob("c.*")
    return {chunk.name: chunk.stat().st_ino for chunk in chunks}


def assert_head(store: Store, step: str, expected: Arrays) -> None:
    stored = group_of(store, step).head().arrays
    assert set(stored) == set(expected)
    for name, values in expected.items():
        assert stored[name].dtype == values.dtype
        np.testing.assert_array_equal(stored[name], values)


def test_equal_arrays_of_checkpoints_are_the_same_files_and_others_are_not(tmp_path: Path) -> None:
    tuned = arrays() | {"norm.gain": np.full(8, 2, np.float32)}
    store = store_of_heads(tmp_path / "s.zarr", arrays(), tuned, arrays(seed=1))
    assert len(files(store, "step1", "lm_head.weight")) == 3
    for name in ("lm_head.weight", "norm.bias"):
        assert files(store, "step2", name) == files(store, "step1", name)
    for name in ("lm_head.weight", "norm.gain"):
        shared = set(files(store, "step3", name).values()) & set(
            files(store, "step1", name).values()
        )
        assert not shared
    assert files(store, "step2", "norm.gain") != files(store, "step1", "norm.gain")
    for step, expected in zip(STEPS, (arrays(), tuned, arrays(seed=1)), strict=True):
        assert_head(store, step, expected)
    assert not verify_store(store).problems


def test_an_array_that_changed_in_one_row_shares_its_other_chunks_with_none(tmp_path: Path) -> None:
    changed = arrays()
    changed["lm_head.weight"] = changed["lm_head.weight"].copy()
    changed["lm_head.weight"][5000, 2] = 1
    store = store_of_heads(tmp_path / "s.zarr", arrays(), changed)
    one, other = (files(store, step, "lm_head.weight") for step in STEPS[:2])
    assert not set(one.values()) & set(other.values())
    assert_head(store, "step2", changed)


@pytest.mark.parametrize("dropped", ["step1", "step2"])
def test_dropping_a_checkpoint_leaves_the_others_heads_whole(tmp_path: Path, dropped: str) -> None:
    store = store_of_heads(tmp_path / "s.zarr", arrays(), arrays())
    shutil.rmtree(folder_of(store, dropped).parent)
    (kept,) = {"step1", "step2"} - {dropped}
    assert_head(store, kept, arrays())


def test_a_checkpoints_group_copied_alone_has_its_whole_head(tmp_path: Path) -> None:
    store = store_of_heads(tmp_path / "s.zarr", arrays(), arrays())
    copied = shutil.copytree(folder_of(store, "step2").parent, tmp_path / "copied.zarr")
    weight = zarr.open_array(copied / "head/lm_head.weight", mode="r")
    np.testing.assert_array_equal(weight[...], arrays()["lm_head.weight"])
    head = xr.open_zarr(copied, group="head", chunks=None)
    np.testing.assert_array_equal(head["norm.gain"], arrays()["norm.gain"])


def test_block_norms_come_back_and_are_shared_where_they_are_equal(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    store.add_texts(["a text"])
    for step, gain in (("step1", 1.5), ("step2", 1.5), ("step3", 2.5)):
        of_norm = {"block.gain": np.full(8, gain, np.float16), "block.bias": np.zeros(8, "f4")}
        head = LensHead(OPS, arrays() | of_norm, 1e-6, block_norms={1: BLOCK_NORM})
        store.begin_checkpoint(spec(checkpoint=step)).write_head(head)
    read = group_of(store, "step3").head()
    assert read.block_norms == {1: BLOCK_NORM}
    np.testing.assert_array_equal(read.arrays["block.gain"], np.full(8, 2.5))
    assert files(store, "step1", "block.gain") == files(store, "step2", "block.gain")
    assert files(store, "step1", "block.gain") != files(store, "step3", "block.gain")
    (folder_of(store, "step2") / "block.gain" / "c.0").unlink()
    assert [problem.checkpoint for problem in verify_store(store).problems] == ["step2"]


def test_a_damaged_file_is_not_shared_but_written_anew(tmp_path: Path) -> None:
    store = store_of_heads(tmp_path / "s.zarr", arrays())
    _flip(folder_of(store, "step1") / "lm_head.weight" / "c.1.0")
    store.begin_checkpoint(spec(checkpoint="step2")).write_head(LensHead(OPS, arrays(), 1e-6))
    one, other = (files(store, step, "lm_head.weight") for step in STEPS[:2])
    assert {name for name in one if one[name] == other[name]} == {"c.0.0", "c.2.0"}
    assert_head(store, "step2", arrays())


def test_heads_of_other_models_are_not_looked_at(tmp_path: Path) -> None:
    store = store_of_heads(tmp_path / "s.zarr", arrays())
    other = store.begin_checkpoint(spec(model="org/other"))
    other.write_head(LensHead(OPS, arrays(), 1e-6))
    weight = store.path / other.prefix / "head/lm_head.weight/c.0.0"
    assert weight.stat().st_nlink == 1


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.unlink()
    path.write_bytes(bytes(data))


def _swap(path: Path) -> None:
    data = path.with_name("c.2.0").read_bytes()
    path.unlink()
    path.write_bytes(data)


def _cut(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-3])


@pytest.mark.parametrize(
    ("damage", "says", "seen_quickly"),
    [
        (Path.unlink, r"c\.1\.0 is missing", True),
        (_cut, r"c\.1\.0 has 65537 bytes, 65540 were written", True),
        (_flip, "lm_head.weight fails its crc32c", False),
        (_swap, "is not the array that was written", False),
        (lambda path: shutil.rmtree(path.parent), "lm_head.weight is missing", True),
    ],
    ids=["missing", "cut", "one bit", "another chunk in its place", "without the array"],
)
def test_each_kind_of_damage_to_a_head_is_found_and_repaired(
    tmp_path: Path, damage: Callable[[Path], object], says: str, seen_quickly: bool
) -> None:
    store = store_of_heads(tmp_path / "s.zarr", arrays(), arrays())
    damage(folder_of(store, "step2") / "lm_head.weight" / "c.1.0")
    assert bool(verify_store(store, quick=True).problems) == seen_quickly
    with pytest.raises(CorruptShardError, match=f"{says}.* --repair"):
        group_of(store, "step2").head()
    report = verify_store(store, repair=True)
    assert report.n_heads == 2
    (problem,) = report.problems
    assert (problem.checkpoint, problem.array, problem.rows) == ("step2", "head", None)
    assert f"--model {MODEL} --checkpoints step2 " in problem.command
    assert problem.command.endswith(" --lens-head")
    group = group_of(store, "step2")
    assert not group.has_head()
    group.write_head(LensHead(OPS, arrays(), 1e-6))
    assert not verify_store(store).problems
    assert files(store, "step1", "lm_head.weight") == files(store, "step2", "lm_head.weight")


def test_a_head_without_digests_is_found(tmp_path: Path) -> None:
    store = store_of_heads(tmp_path / "s.zarr", arrays())
    prefix = str(folder_of(store, "step1").relative_to(store.path))
    attributes = read_attributes(store.storage, prefix)
    del attributes["digests"]
    write_group(store.storage, prefix, attributes)
    group_of(store, "step1").begin_poolings(())
    (problem,) = verify_store(store, quick=True).problems
    assert "has no digests" in problem.what
