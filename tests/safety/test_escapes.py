"""A store that leads elsewhere, or says what a terminal or a shell would obey."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from actstore.errors import CorruptShardError, InvalidInputError, MissingShardsError
from actstore.present.terminal import as_json, lines, printable, table
from actstore.refs import model_name
from actstore.store import create_store, open_store
from actstore.store.moving import CopyRequest, copy_store
from actstore.store.storage import LocalStorage
from tests.metrics.small_store import MODEL, small_spec
from tests.safety.altered import sealed_like


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/passwd", "a//b", "a/./b", "a\0b", ".."])
def test_a_key_that_leads_out_of_a_store_is_refused(key: str, tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "s.zarr")
    for action in (storage.read, storage.exists, storage.delete, storage.names):
        with pytest.raises(InvalidInputError, match="no key of a store"):
            action(key)
    with pytest.raises(InvalidInputError, match="no key of a store"):
        storage.create(key, b"x")


@pytest.mark.parametrize("place", ["file", "folder", "outer folder"])
def test_a_link_that_leads_out_of_a_store_is_not_followed(place: str, tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "s.zarr"
    (outside / "b").mkdir(parents=True)
    (outside / "b/secret").write_bytes(b"secret")
    (root / "a").mkdir(parents=True)
    targets = {"file": "b/secret", "folder": "b", "outer folder": ""}
    key = {"file": "a/x", "folder": "a/x/secret", "outer folder": "a/x/b/secret"}[place]
    (root / "a/x").symlink_to(outside / targets[place])
    storage = LocalStorage(root)
    with pytest.raises(InvalidInputError, match="leads out of the store"):
        storage.read(key)
    with pytest.raises(InvalidInputError, match="leads out of the store"), storage.open(key):
        pass
    if place != "file":
        with pytest.raises(InvalidInputError, match="leads out of the store"):
            storage.create(f"{key}.new", b"x")
        with pytest.raises(InvalidInputError, match="leads out of the store"):
            storage.delete(key)
        with pytest.raises(InvalidInputError, match="leads out of the store"):
            storage.names(key.rpartition("/")[0])
    assert (outside / "b/secret").read_bytes() == b"secret"


def test_links_inside_a_store_and_a_store_that_is_a_link_work(tmp_path: Path) -> None:
    root = tmp_path / "real.zarr"
    (root / "a").mkdir(parents=True)
    (root / "a/x").write_bytes(b"x")
    (root / "b").symlink_to(root / "a")
    (tmp_path / "s.zarr").symlink_to(root)
    storage = LocalStorage(tmp_path / "s.zarr")
    assert storage.read("b/x") == storage.read("a/x") == b"x"
    storage.create("a/y", b"y")
    assert storage.names("b") == ["x", "y"]


def test_a_copy_sends_no_file_on_that_a_link_names(sound: Path, tmp_path: Path) -> None:
    root = tmp_path / "s.zarr"
    shutil.copytree(sound, root)
    (tmp_path / "key").write_text("PRIVATE")
    (root / "texts/part-99999.parquet.key").symlink_to(tmp_path / "key")
    with pytest.raises(InvalidInputError, match="leads out of the store"):
        copy_store(open_store(root), tmp_path / "copy.zarr", CopyRequest())
    copied = (p for p in (tmp_path / "copy.zarr").rglob("*") if p.is_file())
    assert not any(b"PRIVATE" in p.read_bytes() for p in copied)


@pytest.mark.parametrize("name", ["../../other", "..", "a/b", "", "\0", "x" * 5000])
def test_a_lens_of_another_name_than_its_folder_is_refused(
    name: str, sound: Path, tmp_path: Path
) -> None:
    root, key = tmp_path / "s.zarr", "models/someone__small/step0/lenses/affine/zarr.json"
    shutil.copytree(sound, root)
    document = json.loads((root / key).read_bytes())
    document["attributes"]["name"] = name
    (root / key).write_bytes(sealed_like(key, document))
    with pytest.raises(CorruptShardError):
        open_store(root).checkpoint(MODEL, "step0").lens("affine")


def test_commands_that_messages_give_quote_what_a_store_calls_itself(tmp_path: Path) -> None:
    name = "x; rm -rf ~ $(id)"
    store = create_store(tmp_path / "s.zarr")
    store.add_texts(["a"])
    group = store.begin_checkpoint(replace(small_spec("step0"), model=name))
    group.begin_poolings(["mean"])
    with pytest.raises(MissingShardsError) as caught:
        store.embeddings(name, checkpoint="step0", layer=0)
    command = str(caught.value).partition("Run: ")[2]
    assert shlex.split(command)[:5] == ["actstore", "extract", store.url, "--model", name]


def test_what_a_terminal_would_obey_is_written_out() -> None:
    said = printable("\x1b]0;title\x07 \x9b31m \u202e[red] \ud800 \x00é 漢\n")
    assert said == "\\x1b]0;title\\x07 \\x9b31m \\u202e[red] \\ud800 \\x00é 漢\n"


def test_tables_show_brackets_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    table(["task"], [["STS17[en-en]"], ["[/broken]"], ["\x1b[31m"]], title="[bold]t[/nothing]")
    lines("\x1b[2J gone")
    as_json({"name": "\x9b2J\u202e"})
    said = capsys.readouterr().out
    assert "STS17[en-en]" in said
    assert "[/broken]" in said
    assert "\x1b" not in said
    assert "\x9b" not in said
    assert "\u202e" not in said


def test_a_name_that_no_folder_can_have_is_a_name() -> None:
    for name in ("x" * 5000, "a\0b", "~nobody-of-that-name/x"):
        assert model_name(name) == name
