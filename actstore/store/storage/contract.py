"""What every storage promises, as tests: subclass one in a test of a storage of your own.

    class TestMine(StorageContract):
        @pytest.fixture
        def storage(self) -> Storage:
            return MyStorage()

Needs pytest, and is imported by tests alone.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from actstore.errors import CorruptShardError, InvalidInputError
from actstore.store.storage.base import Buffer, Storage, StoredObject
from actstore.store.storage.opening import open_storage

CONTENTS = {
    "models/org__m/step 1 é%/mean_pool/c.0.0.0": bytes(range(256)) * 1000,
    "models/org__m/step 1 é%/zarr.json": b"{}",
    "models/zarr.json": b"{ }",
    "tasks/empty": b"",
    "zarr.json": b'{"zarr_format": 3}',
}
"""What the storage holds that the contract of reading is about."""
_LARGE = "models/org__m/step 1 é%/mean_pool/c.0.0.0"
_AT_ONCE = 16


class ReadableContract:
    """Reading. A subclass gives the fixture `filled`: a storage that holds `CONTENTS` alone."""

    def test_objects_are_read_whole(self, filled: Storage) -> None:
        for key, data in CONTENTS.items():
            assert filled.read(key) == data

    def test_any_range_is_read(self, filled: Storage) -> None:
        data = CONTENTS[_LARGE]
        with filled.open(_LARGE) as reader:
            for start, stop in ((0, 1), (40, 50), (0, len(data)), (len(data) - 7, len(data))):
                buffer = bytearray(stop - start)
                reader.read_into(start, memoryview(buffer))
                assert bytes(buffer) == data[start:stop]

    def test_a_reader_tells_the_size_before_and_after_it_has_read(self, filled: Storage) -> None:
        with filled.open(_LARGE) as reader:
            assert reader.size == len(CONTENTS[_LARGE])
        with filled.open(_LARGE) as reader:
            reader.read_into(10, memoryview(bytearray(10)))
            assert reader.size == len(CONTENTS[_LARGE])

    def test_a_range_behind_the_end_says_so(self, filled: Storage) -> None:
        end = len(CONTENTS[_LARGE])
        for start in (end - 5, end, end + 10):
            with filled.open(_LARGE) as reader, pytest.raises(CorruptShardError, match="early"):
                reader.read_into(start, memoryview(bytearray(10)))

    def test_threads_read_the_same_at_once(self, filled: Storage) -> None:
        data = CONTENTS[_LARGE]

        def read(start: int) -> bytes:
            buffer = bytearray(1000)
            with filled.open(_LARGE) as reader:
                reader.read_into(start, memoryview(buffer))
            return bytes(buffer)

        starts = [number * 1000 for number in range(64)]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            assert list(pool.map(read, starts)) == [data[start : start + 1000] for start in starts]

    def test_what_is_not_there_is_file_not_found(self, filled: Storage) -> None:
        for key in ("nothing", "models/nothing", "zarr.json.nothing"):
            assert not filled.exists(key)
            with pytest.raises(FileNotFoundError):
                filled.read(key)
            with pytest.raises(FileNotFoundError), filled.open(key) as reader:
                reader.read_into(0, memoryview(bytearray(1)))
            with pytest.raises(FileNotFoundError), filled.open(key) as reader:
                assert reader.size

    def test_what_is_there_exists(self, filled: Storage) -> None:
        assert all(filled.exists(key) for key in CONTENTS)

    def test_names_are_those_right_below_a_prefix(self, filled: Storage) -> None:
        assert filled.names("") == ["models", "tasks", "zarr.json"]
        assert filled.names("models") == ["org__m", "zarr.json"]
        assert filled.names("models/org__m") == ["step 1 é%"]
        assert filled.names("models/org__m/step 1 é%") == ["mean_pool", "zarr.json"]
        assert filled.names("model") == []
        assert filled.names("nothing/at/all") == []

    def test_objects_are_all_those_below_a_prefix(self, filled: Storage) -> None:
        everything = [StoredObject(key, len(data)) for key, data in sorted(CONTENTS.items())]
        assert filled.objects("") == everything
        assert filled.objects("models") == [o for o in everything if o.key.startswith("models/")]
        assert filled.objects("nothing") == []

    def test_the_url_opens_the_same_objects(self, filled: Storage) -> None:
        again = open_storage(filled.url)
        assert again.url == filled.url
        assert again.read("zarr.json") == CONTENTS["zarr.json"]
        assert open_storage(f"{filled.url}/").url == filled.url

    @pytest.mark.parametrize("key", ["../out", "a/../../out", "a//b", "/etc/passwd", "a/"])
    def test_keys_that_lead_out_are_refused(self, filled: Storage, key: str) -> None:
        with pytest.raises(InvalidInputError, match="is no key of a store"):
            filled.read(key)


class StorageContract(ReadableContract):
    """Reading and writing. A subclass gives the fixture `storage`: one that holds nothing."""

    @pytest.fixture
    def filled(self, storage: Storage) -> Storage:
        for key, data in CONTENTS.items():
            storage.create(key, data)
        return storage

    def test_what_was_created_is_read_back(self, storage: Storage) -> None:
        bodies: list[Buffer] = [b"12345", bytearray(b"123"), memoryview(b"1234")[1:]]
        for number, data in enumerate(bodies):
            storage.create(f"a/b/{number}", data)
            assert storage.read(f"a/b/{number}") == bytes(data)

    def test_creating_twice_fails_and_keeps_the_first(self, storage: Storage) -> None:
        storage.create("a/key", b"first")
        for _ in range(2):
            with pytest.raises(FileExistsError):
                storage.create("a/key", b"second")
        assert storage.read("a/key") == b"first"
        assert storage.names("a") == ["key"]

    def test_of_many_that_create_one_key_one_wins(self, storage: Storage) -> None:
        start = Barrier(_AT_ONCE)

        def create(number: int) -> int | None:
            start.wait()
            try:
                storage.create("key", b"%d" % number)
            except FileExistsError:
                return None
            return number

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            winners = [one for one in pool.map(create, range(_AT_ONCE)) if one is not None]
        assert [b"%d" % one for one in winners] == [storage.read("key")]

    def test_replacing_takes_the_place_of_what_was_there(self, storage: Storage) -> None:
        for data in (b"first", b"second, longer", b""):
            storage.replace("a/key", data)
            assert storage.read("a/key") == data
        assert storage.names("a") == ["key"]

    def test_a_reader_never_sees_half_of_a_replaced_object(self, storage: Storage) -> None:
        bodies = [bytes([number]) * 100_000 for number in range(8)]
        storage.replace("key", bodies[0])

        def write() -> None:
            for body in bodies:
                storage.replace("key", body)

        with ThreadPoolExecutor(2) as pool:
            writing = pool.submit(write)
            while not writing.done():
                assert storage.read("key") in bodies
        writing.result()
        assert storage.read("key") == bodies[-1]

    def test_what_is_shared_outlives_the_source_and_does_not_follow_it(
        self, storage: Storage
    ) -> None:
        storage.create("a/source é%", b"first")
        storage.create("b/kept", b"before")
        for key in ("b/new", "b/kept", "b/kept"):
            storage.share("a/source é%", key)
        storage.replace("a/source é%", b"second")
        storage.share("a/source é%", "c/deleted")
        storage.delete("c/deleted")
        assert [storage.read(f"b/{name}") for name in ("new", "kept")] == [b"first"] * 2
        assert storage.read("a/source é%") == b"second"
        storage.delete("a/source é%")
        assert storage.read("b/new") == b"first"
        with pytest.raises(FileNotFoundError):
            storage.share("a/source é%", "b/kept")
        assert storage.read("b/kept") == b"first"

    def test_lines_are_appended(self, storage: Storage) -> None:
        lines = [b"%d\n" % number for number in range(20)]
        for line in lines:
            storage.append("a/journal", line)
        assert storage.read("a/journal") == b"".join(lines)

    def test_appending_goes_on_after_what_another_opening_appended(self, storage: Storage) -> None:
        again = open_storage(storage.url)
        for number in range(3):
            storage.append("journal", b"one %d\n" % number)
            again.append("journal", b"two %d\n" % number)
        expected = [b"%s %d\n" % (who, n) for n in range(3) for who in (b"one", b"two")]
        assert storage.read("journal") == b"".join(expected)

    def test_appending_to_what_was_deleted_begins_anew(self, storage: Storage) -> None:
        storage.append("journal", b"one\n")
        open_storage(storage.url).delete("journal")
        storage.append("journal", b"two\n")
        assert storage.read("journal") == b"two\n"

    def test_threads_append_to_journals_of_their_own_at_once(self, storage: Storage) -> None:
        def append(number: int) -> None:
            for line in range(5):
                storage.append(f"journals/{number}", b"%d\n" % line)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(append, range(8)))
        whole = b"".join(b"%d\n" % line for line in range(5))
        assert [storage.read(f"journals/{number}") for number in range(8)] == [whole] * 8

    def test_what_was_deleted_is_gone(self, storage: Storage) -> None:
        storage.create("a/key", b"")
        storage.create("a/key2", b"")
        for _ in range(2):
            storage.delete("a/key")
            assert not storage.exists("a/key")
            assert storage.exists("a/key2")
        storage.create("a/key", b"again")
        assert storage.read("a/key") == b"again"

    def test_all_below_a_prefix_is_deleted_and_nothing_else(self, filled: Storage) -> None:
        for _ in range(2):
            filled.delete_below("models/org__m")
            assert [one.key for one in filled.objects("")] == [
                "models/zarr.json",
                "tasks/empty",
                "zarr.json",
            ]

    def test_free_bytes_are_a_number_or_not_known(self, storage: Storage) -> None:
        free = storage.free_bytes()
        assert free is None or free > 0

    @pytest.mark.parametrize("key", ["../out", "a/../../out", "a//b", "/etc/passwd"])
    def test_nothing_is_written_to_keys_that_lead_out(self, storage: Storage, key: str) -> None:
        storage.create("a/key", b"")
        refused = pytest.raises(InvalidInputError, match="is no key of a store")
        for write in (storage.create, storage.replace, storage.append):
            with refused:
                write(key, b"")
        with refused:
            storage.share("a/key", key)
        with refused:
            storage.delete(key)
        assert [one.key for one in storage.objects("")] == ["a/key"]
