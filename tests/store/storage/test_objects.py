"""Buckets: what goes beyond the contract of a storage, and what a bad network does."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest

from actstore.errors import StorageError
from actstore.store import open_store
from actstore.store.sharing.leases import Leases
from actstore.store.storage import Storage, open_storage, s3
from tests.support.s3.proxy import Fault, Plan, Proxy
from tests.support.s3.spoiled import proxy
from tests.support.states import MODEL, known_states, known_store

__all__ = ["proxy"]
_DATA = bytes(range(256)) * 4000


def once(method: str, fault: Fault) -> Plan:
    """Spoil the first request of a method."""
    left = [fault]
    return lambda asked, _: left.pop() if asked == method and left else None


def always(method: str, fault: Fault) -> Plan:
    return lambda asked, _: fault if asked == method else None


def _read_range(storage: Storage) -> bytes:
    buffer = bytearray(5000)
    with storage.open("key") as reader:
        reader.read_into(100, memoryview(buffer))
        assert reader.size == len(_DATA)
    return bytes(buffer)


@pytest.mark.parametrize(
    "fault", [fault for fault in Fault if fault is not Fault.TWICE], ids=lambda fault: fault.name
)
def test_a_read_that_is_disturbed_gives_the_right_bytes(
    bucket: str, proxy: Proxy, fault: Fault
) -> None:
    storage = open_storage(bucket)
    storage.create("key", _DATA)
    for read, expected in (
        (_read_range, _DATA[100:5100]),
        (lambda storage: storage.read("key"), _DATA),
    ):
        proxy.plan = once("GET", fault)
        assert read(storage) == expected
    assert proxy.faults == [fault] * 2


@pytest.mark.parametrize(
    "fault", [fault for fault in Fault if fault is not Fault.SHORT], ids=lambda fault: fault.name
)
def test_a_write_that_is_disturbed_is_done_once(bucket: str, proxy: Proxy, fault: Fault) -> None:
    storage = open_storage(bucket)
    storage.create("source", b"s")
    for write, key, expected in (
        (lambda: storage.create("created", b"c"), "created", b"c"),
        (lambda: storage.replace("replaced", b"r"), "replaced", b"r"),
        (lambda: storage.share("source", "shared"), "shared", b"s"),
        (lambda: storage.append("journal", b"one\n"), "journal", b"one\n"),
        (lambda: storage.append("journal", b"two\n"), "journal", b"one\ntwo\n"),
    ):
        proxy.plan = once("PUT", fault)
        write()
        assert storage.read(key) == expected
    assert proxy.faults == [fault] * 5


@pytest.mark.parametrize("fault", [Fault.TWICE, Fault.LATE, Fault.UNANSWERED, Fault.ERROR_500])
def test_a_lease_whose_put_is_disturbed_is_held_by_one_worker(
    bucket: str, proxy: Proxy, fault: Fault
) -> None:
    storage = open_storage(bucket)
    with Leases(storage, seconds=60) as ours, Leases(storage, seconds=60) as theirs:
        proxy.plan = once("PUT", fault)
        lease = ours.claim("unit")
        assert lease is not None
        assert theirs.claim("unit") is None
        proxy.plan = once("PUT", fault)
        lease.release()
        assert theirs.claim("unit") is not None


def test_what_another_process_created_is_not_taken_for_ours(bucket: str, proxy: Proxy) -> None:
    open_storage(bucket).create("key", b"same bytes")
    for plan in (once("PUT", Fault.TWICE), once("PUT", Fault.LATE), once("PUT", Fault.ERROR_503)):
        proxy.plan = plan
        with pytest.raises(FileExistsError):
            open_storage(bucket).create("key", b"same bytes")


def test_a_put_that_comes_late_does_not_undo_a_later_append(bucket: str, proxy: Proxy) -> None:
    """The line of a put that nobody waits for any more is there once, and no line is lost."""
    storage = open_storage(bucket)
    lines = [b"%d\n" % number for number in range(6)]
    for line in lines:
        proxy.plan = once("PUT", Fault.LATE)
        storage.append("journal", line)
    assert storage.read("journal") == b"".join(lines)


@pytest.mark.parametrize(
    ("method", "act"),
    [
        ("GET", lambda storage: storage.read("key")),
        ("GET", _read_range),
        ("GET", lambda storage: storage.names("")),
        ("GET", lambda storage: storage.objects("")),
        ("HEAD", lambda storage: storage.exists("key")),
        ("PUT", lambda storage: storage.create("new", b"")),
        ("PUT", lambda storage: storage.replace("key", b"")),
        ("PUT", lambda storage: storage.share("key", "new")),
        ("PUT", lambda storage: storage.append("new", b"")),
        ("POST", lambda storage: storage.delete("key")),
    ],
)
@pytest.mark.parametrize("fault", [Fault.ERROR_503, Fault.LOST], ids=lambda fault: fault.name)
def test_a_server_that_fails_for_good_is_told_and_changes_nothing(
    bucket: str, proxy: Proxy, method: str, act: Callable[[Storage], object], fault: Fault
) -> None:
    storage = open_storage(bucket)
    storage.create("key", _DATA)
    proxy.plan = always(method, fault)
    with pytest.raises(StorageError, match=f"{bucket} .*run the same command again"):
        act(storage)
    proxy.plan = lambda *_: None
    assert [(o.key, o.size) for o in storage.objects("")] == [("key", len(_DATA))]


def test_a_failed_append_is_not_remembered(bucket: str, proxy: Proxy) -> None:
    storage = open_storage(bucket)
    storage.append("journal", b"one\n")
    proxy.plan = always("PUT", Fault.LOST)
    with pytest.raises(StorageError):
        storage.append("journal", b"two\n")
    proxy.plan = lambda *_: None
    storage.append("journal", b"three\n")
    assert storage.read("journal") == b"one\nthree\n"


def test_a_bucket_that_is_not_there_is_no_missing_object(bucket: str) -> None:
    storage = open_storage("s3://no-such-bucket/s.zarr")
    for act in (
        lambda: storage.read("key"),
        lambda: storage.replace("key", b""),
        lambda: storage.names(""),
    ):
        with pytest.raises(StorageError, match="NoSuchBucket.*Create the bucket"):
            act()


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As on a machine where nobody has ever used AWS."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    return monkeypatch


def test_credentials_that_are_missing_are_asked_for(
    bucket: str, no_credentials: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match="no credentials.*AWS_ACCESS_KEY_ID"):
        open_storage(bucket)
    no_credentials.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StorageError, match="nobody.*AWS_ACCESS_KEY_ID"):
        open_storage(bucket)


def test_credentials_that_are_missing_are_asked_for_without_boto3(
    bucket: str, proxy: Proxy, no_credentials: pytest.MonkeyPatch
) -> None:
    no_credentials.setitem(sys.modules, "boto3", None)
    no_credentials.delitem(sys.modules, "obstore.auth.boto3", raising=False)
    with pytest.raises(StorageError, match="pip install boto3"):
        open_storage(bucket).read("key")


def test_a_profile_is_used_where_boto3_finds_one(
    bucket: str, no_credentials: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "credentials").write_text(
        "[lab]\naws_access_key_id = a\naws_secret_access_key = b\n"
    )
    no_credentials.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    no_credentials.setenv("AWS_PROFILE", "lab")
    storage = open_storage(bucket)
    storage.create("key", b"data")
    assert storage.read("key") == b"data"


def test_a_read_that_stalls_is_asked_for_again_long_before_a_write_would_be(
    bucket: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_TIMEOUT")
    monkeypatch.setattr(s3, "_STALL", timedelta(seconds=0.3))
    asked: list[str] = []

    def plan(method: str, _: str) -> Fault | None:
        asked.append(method)
        return Fault.LATE if asked.count(method) == 1 else None

    proxy.plan = plan
    storage = open_storage(bucket)
    storage.create("key", _DATA)
    assert storage.read("key") == _DATA
    assert asked == ["PUT", "GET", "GET"]


def test_a_public_bucket_needs_no_credentials(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{os.environ['AWS_ENDPOINT_URL']}/{bucket.removeprefix('s3://')}/key"
    headers = {"x-amz-acl": "public-read", "Content-Type": "application/octet-stream"}
    urlopen(Request(url, b"data", headers, method="PUT")).close()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    assert open_storage(bucket).read("key") == b"data"


def test_an_endpoint_that_nobody_listens_at_is_told(
    bucket: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match="AWS_ENDPOINT_URL"):
        open_storage(bucket).read("key")


def test_one_layer_of_full_shards_is_one_request_a_shard(bucket: str, proxy: Proxy) -> None:
    _, group = known_store(f"{bucket}/s.zarr", n_texts=256)
    again = open_store(f"{bucket}/s.zarr").checkpoint(MODEL, "step1")
    rows = np.arange(256)
    assert again.todo(rows, ["mean"]) == []  # the ledger is known from here on
    proxy.passed.clear()
    np.testing.assert_array_equal(again.read("mean", 2, rows), known_states(rows, group.spec)[2])
    asked = [(one.method, one.path.rpartition("step1/")[2]) for one in proxy.passed]
    objects = [one for one in asked if "list-type" not in one[1]]
    assert sorted(objects) == [("GET", f"mean_pool/c.0.{shard}.0") for shard in range(4)]
    assert len(asked) - len(objects) <= 1  # which poolings there are


def test_rows_in_order_read_at_most_half_as_much_again_as_they_are(
    bucket: str, proxy: Proxy
) -> None:
    _, group = known_store(f"{bucket}/s.zarr", n_texts=1024, hidden_size=256)
    again = open_store(f"{bucket}/s.zarr").checkpoint(MODEL, "step1")
    rows = np.arange(100, 900)
    assert again.todo(rows, ["mean"]) == []
    proxy.passed.clear()
    states = again.read("mean", 1, rows)
    np.testing.assert_array_equal(states, known_states(rows, group.spec)[1])
    read = sum(one.n_bytes for one in proxy.passed)
    assert read <= 1.5 * len(rows) * 256 * 2
