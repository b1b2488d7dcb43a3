"""Leases: which worker is at which unit of work, so that no two of them do the same.

The data never depend on them: a shard is committed by an exclusive create, and every worker would
write the same bytes. A lease only saves doing work twice.

A lease is an object `leases/<hash of the unit>.<generation>.lease`; the highest generation counts.
Generation 1 is created if absent, so one worker alone gets it. A lease expires when its holder has
not renewed it in time, or is a process of this machine that has ended. Generation n + 1 is then
created, again by one worker alone, which looks once more whether generation n is as it was: it may
have been renewed, or released and the unit claimed anew, since it was judged. So any storage that
creates, replaces, reads and lists will do, and clocks need to agree only to a fraction of a lease.
Source: Gray & Cheriton 1989, Leases: an efficient fault-tolerant mechanism for distributed file
cache consistency, https://doi.org/10.1145/74850.74870
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from threading import Event, Lock, Thread
from typing import Self

from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
    write_group,
)
from actstore.store.records.documents import (
    Fields,
    is_finite,
    is_text,
    or_none,
    parse,
    whole_from,
    wrong_field,
)
from actstore.store.records.ledger import digest
from actstore.store.sharing.processes import (
    MOST_PID,
    host_name,
    is_gone,
    process_space,
    process_started,
)
from actstore.store.storage import Storage, join

ADDING_TEXTS = "texts"
"""What `alone` is given by whoever adds texts to a store."""
_FOLDER = "leases"
_NAME = re.compile(r"([0-9a-f]{32})\.([0-9]{1,18})\.lease")
_FIELDS: Fields = {
    "unit": is_text,
    "worker": is_text,
    "host": is_text,
    "pid": whole_from(1, MOST_PID),
    "space": is_text,
    "started": or_none(whole_from(0)),
    "since": is_finite,
    "renewed_at": is_finite,
    "seconds": is_finite,
}
_POLL_SECONDS = 0.2
_RENEWALS = 4
"""In the time a lease lasts: three may fail before it is lost."""


@dataclass(frozen=True)
class LeaseInfo:
    """What a lease says of itself on disk."""

    unit: str
    worker: str
    """A name no other worker has."""
    host: str
    pid: int
    space: str
    """Where `pid` counts: see `processes.process_space`."""
    started: int | None
    """When the process began, in clock ticks since boot; None where that is not known."""
    since: float
    """When it was claimed, in seconds since 1970."""
    renewed_at: float
    seconds: float
    """How long it lasts after it was renewed."""

    def expired(self) -> bool:
        """Whether another worker may take the unit over.

        A time of renewal far ahead is a wrong clock's: it would hold the unit until that is right.
        """
        late = abs(time.time() - self.renewed_at) > self.seconds
        return late or is_gone(self.space, self.pid, self.started)

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> LeaseInfo | None:
        """None for bytes that are no lease: what damage left holds nothing."""
        try:
            document = parse(data)
        except ValueError:
            return None
        if wrong_field(document, _FIELDS):
            return None
        return cls(**{name: document[name] for name in _FIELDS})


class Lease:
    """A unit of work that a worker has until it releases it, or loses it by being silent."""

    def __init__(self, leases: Leases, info: LeaseInfo, key: str) -> None:
        self.unit, self.info, self.key = info.unit, info, key
        self.lost = False
        """Whether another worker has taken the unit over."""
        self._leases = leases

    def __repr__(self) -> str:
        return f"<Lease of {self.unit}{', lost' if self.lost else ''}>"

    def release(self) -> None:
        """Let others claim the unit. Releasing twice, or what was lost, does nothing."""
        self._leases.release(self)


class Leases:
    """The leases of one worker. Inside a `with` statement a thread renews those it holds."""

    def __init__(self, storage: Storage, *, seconds: float, host: str | None = None) -> None:
        """host: take part as a worker of another machine, whose processes cannot be looked up."""
        self.storage, self.seconds = storage, seconds
        self._host = host or host_name()
        self._space = host or process_space()
        self.worker = f"{self._host}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._held: set[Lease] = set()
        self._lock = Lock()
        self._end = Event()
        self._thread = Thread(target=self._keep_renewing, name="leases", daemon=True)

    def __enter__(self) -> Self:
        """Clear away what dead workers left and begin renewing."""
        if not self.storage.exists(join(_FOLDER, DOCUMENT)):
            write_group(self.storage, _FOLDER, {})
        for info in _current(self.storage):
            if info.expired() and (lease := self.claim(info.unit)):
                lease.release()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop renewing and release what is still held."""
        self._end.set()
        self._thread.join()
        for lease in list(self._held):
            with suppress(OSError):  # it expires by itself
                lease.release()
        with suppress(OSError):
            self._delete_forgotten()

    def claim(self, unit: str) -> Lease | None:
        """The unit, for this worker alone; None if another live worker has it. Never waits.

        Done work has no lease: look whether the unit is still to be done once it is claimed.
        """
        name = digest(unit.encode())
        there = _generations(self.storage).get(name, [])
        last = max(there, default=0)
        judged = _read(self.storage, _key(name, last))
        if there and not _is_free(judged):
            return None
        lease = self._create(unit, _key(name, last + 1))
        if lease is None:
            return None
        later = max(_generations(self.storage).get(name, [])) > last + 1
        if later or _read(self.storage, _key(name, last)) != judged:
            self.storage.delete(lease.key)
            return None
        for generation in there:
            self.storage.delete(_key(name, generation))
        with self._lock:
            self._held.add(lease)
        return lease

    @contextmanager
    def alone(self, unit: str) -> Iterator[Lease]:
        """Hold a unit inside the block; waits until it is free."""
        while (lease := self.claim(unit)) is None:
            time.sleep(_POLL_SECONDS)
        try:
            yield lease
        finally:
            lease.release()

    def release(self, lease: Lease) -> None:
        """See `Lease.release`."""
        with self._lock:
            if lease in self._held:
                self._held.discard(lease)
                self._delete(lease)

    def _create(self, unit: str, key: str) -> Lease | None:
        now, pid = time.time(), os.getpid()
        info = LeaseInfo(
            unit=unit,
            worker=self.worker,
            host=self._host,
            pid=pid,
            space=self._space,
            started=process_started(pid),
            since=now,
            renewed_at=now,
            seconds=self.seconds,
        )
        try:
            self.storage.create(key, info.to_json())
        except FileExistsError:
            return None
        return Lease(self, info, key)

    def _keep_renewing(self) -> None:
        while not self._end.wait(self.seconds / _RENEWALS):
            # A storage that fails is tried again: at worst the leases expire and work is done
            # twice, while a thread that died would lose them all without a word.
            with suppress(Exception):
                self._renew_all()

    def _renew_all(self) -> None:
        with self._lock:
            held = list(self._held)
        there = _generations(self.storage)
        for lease in held:
            name, generation = _parse(lease.key)
            with self._lock:
                if lease in self._held:
                    self._renew(lease, taken=max(there.get(name, [0])) > generation)

    def _renew(self, lease: Lease, *, taken: bool) -> None:
        if taken or _read(self.storage, lease.key) != lease.info.to_json():
            lease.lost = True
            self._held.discard(lease)
            self._delete(lease)
            return
        renewed = replace(lease.info, renewed_at=time.time())
        self.storage.replace(lease.key, renewed.to_json())
        lease.info = renewed

    def _delete_forgotten(self) -> None:
        """Delete what a signal that came in the middle of a claim made this worker forget."""
        for name, there in _generations(self.storage).items():
            for key in (_key(name, generation) for generation in there):
                info = LeaseInfo.from_json(_read(self.storage, key) or b"")
                if info is not None and info.worker == self.worker:
                    self.storage.delete(key)

    def _delete(self, lease: Lease) -> None:
        """Delete a lease's object unless it is another worker's by now."""
        if _read(self.storage, lease.key) == lease.info.to_json():
            self.storage.delete(lease.key)


@contextmanager
def alone(storage: Storage, unit: str, *, seconds: float = 60.0) -> Iterator[None]:
    """Hold one unit inside the block, as the only worker of all; waits until it is free."""
    with Leases(storage, seconds=seconds) as leases, leases.alone(unit):
        yield


def live_leases(storage: Storage) -> list[LeaseInfo]:
    """The leases that are held now, by unit."""
    live = [info for info in _current(storage) if not info.expired()]
    return sorted(live, key=lambda info: info.unit)


def _current(storage: Storage) -> list[LeaseInfo]:
    """The lease that counts of every unit, expired or not."""
    found = []
    for name, there in _generations(storage).items():
        data = _read(storage, _key(name, max(there)))
        if data is not None and (info := LeaseInfo.from_json(data)):
            found.append(info)
    return found


def _generations(storage: Storage) -> dict[str, list[int]]:
    """The generations there are of every unit's lease, by the hash of the unit."""
    found: dict[str, list[int]] = {}
    for name in storage.names(_FOLDER):
        if match := _NAME.fullmatch(name):
            found.setdefault(match[1], []).append(int(match[2]))
    return found


def _is_free(data: bytes | None) -> bool:
    """Whether a lease that is there may be taken over; one released just now is not there."""
    if data is None:
        return False
    info = LeaseInfo.from_json(data)
    return info is None or info.expired()


def _read(storage: Storage, key: str) -> bytes | None:
    try:
        return storage.read(key)
    except FileNotFoundError:
        return None


def _key(name: str, generation: int) -> str:
    return join(_FOLDER, f"{name}.{generation}.lease")


def _parse(key: str) -> tuple[str, int]:
    """The hash of the unit, and the generation."""
    _, name = key.split("/")
    hashed, generation, _ = name.split(".")
    return hashed, int(generation)
