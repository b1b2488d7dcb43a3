"""Snapshots of repositories: which commit, which files, from where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actstore.errors import InvalidInputError, PartlyDoneError
from actstore.snapshots import fetch_all, take_snapshot
from tests.support.dataset_hub import DatasetHub, serve

REPO = "org/data"
FIRST, SECOND = "1" * 40, "2" * 40


@pytest.fixture
def hub() -> DatasetHub:
    hub = DatasetHub()
    hub.repos[REPO] = {
        FIRST: {"README.md": b"first", "en/a.txt": b"a", "de/b.txt": b"bb"},
        SECOND: {"README.md": b"second"},
    }
    hub.branches[REPO, "main"] = FIRST
    return hub


@pytest.fixture
def cut_off(
    hub: DatasetHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], None]]:
    with serve(monkeypatch, hub, tmp_path / "cache") as cut:
        yield cut


def test_a_branch_is_read_where_it_is_now_and_offline_where_it_was_last(
    hub: DatasetHub, cut_off: Callable[[], None]
) -> None:
    assert take_snapshot("dataset", REPO, "main").commit == FIRST
    hub.branches[REPO, "main"] = SECOND
    moved = take_snapshot("dataset", REPO, "main")
    assert (moved.commit, moved.revision) == (SECOND, "main")
    assert (moved.folder / "README.md").read_bytes() == b"second"
    hub.branches[REPO, "main"] = FIRST
    cut_off()
    assert take_snapshot("dataset", REPO, "main").commit == SECOND
    assert (take_snapshot("dataset", REPO, FIRST).folder / "README.md").read_bytes() == b"first"


def test_only_the_files_asked_for_are_taken(hub: DatasetHub, cut_off: object) -> None:
    english = take_snapshot("dataset", REPO, FIRST, without=["de/*"])
    assert english.files == {"README.md": 5, "en/a.txt": 1}
    assert f"{REPO}/de/b.txt" not in hub.got
    assert take_snapshot("dataset", REPO, FIRST, only=["de/*"]).files == {"de/b.txt": 2}


def test_to_be_asked_for_offline_the_hub_is_left_alone(hub: DatasetHub, cut_off: object) -> None:
    take_snapshot("dataset", REPO, FIRST, without=["de/*"])
    hub.got.clear()
    assert take_snapshot("dataset", REPO, FIRST, without=["de/*"], offline=True).was_there
    with pytest.raises(InvalidInputError, match="only in part in the hub cache"):
        take_snapshot("dataset", REPO, FIRST, offline=True)
    assert hub.got == []


@pytest.mark.parametrize(
    ("repo", "revision"), [("org/none", FIRST), (REPO, "3" * 40), (REPO, "no-such-branch")]
)
def test_what_the_hub_has_not_is_named(repo: str, revision: str, cut_off: object) -> None:
    with pytest.raises(InvalidInputError, match=rf"{repo} at revision {revision} cannot be"):
        take_snapshot("dataset", repo, revision)


def test_nothing_to_take_is_an_error(cut_off: object) -> None:
    with pytest.raises(InvalidInputError, match="none of the files asked for"):
        take_snapshot("dataset", REPO, FIRST, only=["*.parquet"])


def test_all_are_tried_and_those_that_fail_are_named(hub: DatasetHub, cut_off: object) -> None:
    wanted = {
        "gone": lambda: [take_snapshot("dataset", REPO, "3" * 40)],
        "first": lambda: [take_snapshot("dataset", REPO, FIRST)],
        "lost": lambda: [take_snapshot("dataset", "org/none", FIRST)],
    }
    with pytest.raises(PartlyDoneError, match=r"1 of 3 things fetched(?s:.*)- gone: (?s:.*)- lost"):
        fetch_all("Fetching", "thing", wanted)
    (first,) = fetch_all("Fetching", "thing", {"first": wanted["first"]}).snapshots
    assert first.was_there
