from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actstore.errors import InvalidInputError, NotAStoreError, StorageError, UnknownNameError
from actstore.store import Store, create_store, open_store
from actstore.store.moving import pushing
from actstore.store.moving.copying import copy_store
from actstore.store.moving.pulling import pull
from actstore.store.moving.pushing import PushRequest, push
from actstore.store.moving.request import CopyRequest
from tests.report.scored_store import score
from tests.store.moving.full_store import readings
from tests.support.upload_hub import Hub, upload_hub

REPO = "someone/states"
pytestmark = pytest.mark.filterwarnings(
    "ignore:Use 'content=:DeprecationWarning"  # huggingface_hub 2.4 uploads so itself
)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with upload_hub(monkeypatch) as running:
        yield running


def test_what_is_pushed_is_pulled(full: Store, hub: Hub, tmp_path: Path) -> None:
    pushed = push(full, PushRequest(repo=REPO))
    assert pushed.n_sent == pushed.n_objects == len(hub.repos[REPO].files()) - 2
    pulled = pull(REPO, str(tmp_path / "pulled.zarr"))
    assert pulled.n_brought == pushed.n_objects
    assert readings(open_store(tmp_path / "pulled.zarr")) == readings(full)
    assert not (tmp_path / "pulled.zarr/.cache").exists()


def test_only_what_is_missing_is_sent_and_brought(full: Store, hub: Hub, tmp_path: Path) -> None:
    push(full, PushRequest(repo=REPO))
    pull(REPO, str(tmp_path / "pulled.zarr"))
    assert push(full, PushRequest(repo=REPO)).n_sent == 0
    assert pull(REPO, str(tmp_path / "pulled.zarr")).n_brought == 0
    full.record_scores([score("step0", 3, "Near", 0.9)])
    assert push(full, PushRequest(repo=REPO)).n_sent == 2  # scores and their leaves
    assert pull(REPO, str(tmp_path / "pulled.zarr")).n_brought == 2
    assert readings(open_store(tmp_path / "pulled.zarr")) == readings(full)


def test_the_card_says_what_is_in_it_and_how_to_open_it(full: Store, hub: Hub) -> None:
    push(full, PushRequest(repo=REPO, licence="cc-by-4.0"))
    card = hub.repos[REPO].files()["README.md"].decode()
    assert card.startswith("---\nlicense: cc-by-4.0\n")
    assert f'xr.open_dataset("hf://datasets/{REPO}", engine="actstore"' in card
    assert "| step1000 | 0-3 (12 values in float32) | mean, curvature | sample |" in card
    push(full, PushRequest(repo=REPO))
    assert "Not stated" in hub.repos[REPO].files()["README.md"].decode()


def test_leases_and_run_logs_stay_and_results_if_asked(
    full: Store, hub: Hub, tmp_path: Path
) -> None:
    full.storage.create("runs/log.jsonl", b"{}\n")
    push(full, PushRequest(repo=REPO, results=False, private=True))
    names = hub.repos[REPO].files()
    left_out = [name for name in names if name.startswith(("runs/", "leases/", "scores/"))]
    assert {name.rpartition("/")[2] for name in left_out} == {"zarr.json"}
    pull(REPO, str(tmp_path / "pulled.zarr"))
    assert open_store(tmp_path / "pulled.zarr").scores().empty
    assert hub.repos[REPO].private


def test_states_come_before_what_makes_them_count(
    full: Store, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushing, "_MOST_FILES", 7)
    push(full, PushRequest(repo=REPO))
    commits = [*hub.repos[REPO].commits.values()]
    assert len(commits) > 10
    for files in commits[:-2]:
        journals = [name for name in files if name.endswith(".jsonl")]
        shards = [name for name in files if "mean_pool/c." in name]
        assert not journals or len(shards) == len(
            [name for name in commits[-1] if "mean_pool/c." in name]
        )
        assert "zarr.json" not in files


def test_a_push_that_is_cut_off_is_gone_on_with(
    full: Store, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pushing, "_MOST_FILES", 10)
    commits = [0]

    def third_commit(method: str, path: str) -> bool:
        commits[0] += "/commit/" in path
        return "/commit/" in path and commits[0] == 3

    hub.refuse = third_commit
    with pytest.raises(StorageError, match="Run the same command again"):
        push(full, PushRequest(repo=REPO))
    hub.refuse = lambda method, path: False
    with pytest.raises(NotAStoreError, match="actstore push"):
        pull(REPO, str(tmp_path / "early.zarr"))
    sent = hub.uploaded()
    report = push(full, PushRequest(repo=REPO))
    assert report.n_sent == report.n_objects - 20
    assert len(hub.uploaded()) == len({*hub.uploaded()}) > len(sent)
    pull(REPO, str(tmp_path / "pulled.zarr"))
    assert readings(open_store(tmp_path / "pulled.zarr")) == readings(full)


def test_a_pull_that_is_cut_off_is_gone_on_with(full: Store, hub: Hub, tmp_path: Path) -> None:
    n = push(full, PushRequest(repo=REPO)).n_objects
    asked = [0]

    def from_the_fiftieth_on(method: str, path: str) -> bool:
        asked[0] += "/resolve/" in path
        return "/resolve/" in path and asked[0] > 50

    hub.refuse = from_the_fiftieth_on
    with pytest.raises(StorageError, match="does not answer"):
        pull(REPO, str(tmp_path / "pulled.zarr"))
    hub.refuse = lambda method, path: False
    with pytest.raises(NotAStoreError):
        open_store(tmp_path / "pulled.zarr")
    assert 0 < pull(REPO, str(tmp_path / "pulled.zarr")).n_brought < n
    assert readings(open_store(tmp_path / "pulled.zarr")) == readings(full)


def test_a_pull_request_leaves_the_branch_alone(full: Store, hub: Hub, tmp_path: Path) -> None:
    push(full, PushRequest(repo=REPO))
    before = hub.repos[REPO].files()
    full.record_scores([score("step0", 3, "Near", 0.9)])
    report = push(full, PushRequest(repo=REPO, create_pr=True))
    assert report.revision == "refs/pr/1"
    assert report.url.endswith("/discussions/1")
    assert hub.repos[REPO].files() == before
    pull(REPO, str(tmp_path / "pulled.zarr"), revision="refs/pr/1")
    assert readings(open_store(tmp_path / "pulled.zarr")) == readings(full)


def test_a_branch_is_made(full: Store, hub: Hub, tmp_path: Path) -> None:
    push(full, PushRequest(repo=REPO, revision="second"))
    assert "zarr.json" not in hub.repos[REPO].files()
    pull(REPO, str(tmp_path / "pulled.zarr"), revision="second")
    assert readings(open_store(tmp_path / "pulled.zarr")) == readings(full)


def test_a_store_that_is_no_folder_is_pushed(full: Store, hub: Hub, tmp_path: Path) -> None:
    copy_store(full, f"memory://{tmp_path.name}", CopyRequest())
    push(open_store(f"memory://{tmp_path.name}"), PushRequest(repo=REPO))
    pull(REPO, str(tmp_path / "pulled.zarr"))
    assert readings(open_store(tmp_path / "pulled.zarr")) == readings(full)


def test_a_folder_with_other_things_is_left_as_it_is(full: Store, hub: Hub, tmp_path: Path) -> None:
    push(full, PushRequest(repo=REPO))
    other = create_store(tmp_path / "other.zarr")
    other.add_texts([f"other {i}" for i in range(10)])
    other.write_suite("mine", {"tasks": []})
    before = readings(other)
    with pytest.raises(InvalidInputError, match="actstore merge"):
        pull(REPO, str(other.path))
    assert readings(open_store(other.path)) == before


def test_damage_here_is_brought_again(full: Store, hub: Hub, tmp_path: Path) -> None:
    push(full, PushRequest(repo=REPO))
    pull(REPO, str(tmp_path / "pulled.zarr"))
    shard = next((tmp_path / "pulled.zarr").rglob("mean_pool/c.0.1.0"))
    data = bytearray(shard.read_bytes())
    data[9] ^= 4
    shard.write_bytes(bytes(data))
    assert pull(REPO, str(tmp_path / "pulled.zarr")).n_brought == 1
    assert readings(open_store(tmp_path / "pulled.zarr")) == readings(full)


@pytest.mark.parametrize("token", [None, "hf_wrong"])
def test_who_is_not_known_is_told_to_log_in(
    full: Store, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    with (
        upload_hub(monkeypatch, token=token),
        pytest.raises((InvalidInputError, UnknownNameError), match="hf auth login"),
    ):
        push(full, PushRequest(repo=REPO))


def test_what_is_not_there_is_named(full: Store, hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"no dataset someone/nothing.*hf auth login"):
        pull("someone/nothing", str(tmp_path / "p.zarr"))
    push(full, PushRequest(repo=REPO))
    with pytest.raises(UnknownNameError, match="no revision 'v9'"):
        pull(REPO, str(tmp_path / "p.zarr"), revision="v9")
    with pytest.raises(InvalidInputError, match="no name of a repository"):
        push(full, PushRequest(repo="a/b/c"))
    with pytest.raises(InvalidInputError, match="actstore copy hf://"):
        pull(REPO, f"memory://{tmp_path.name}")
