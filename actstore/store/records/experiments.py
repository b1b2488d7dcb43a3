"""The experiments that a store was filled by: each as it was resolved, and where it first ran.

Two files an experiment, named by its digest: the YAML, which can be run again, then JSON, written
last, without which it does not count.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import xxhash

from actstore.errors import CorruptShardError
from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
    write_group,
)
from actstore.store.records.damage import Damage
from actstore.store.records.documents import Fields, damaged, is_finite, is_table, is_text
from actstore.store.records.environment import environment
from actstore.store.records.journal import Json
from actstore.store.records.sealing import read_sealed_json, sealed_json
from actstore.store.storage import Storage, join

FOLDER = "experiments"
_YAML_DIGEST = "yaml_digest"
_FIELDS: Fields = {
    "digest": is_text,
    "name": is_text,
    "at": is_finite,
    "environment": is_table,
    _YAML_DIGEST: is_text,
}


@dataclass(frozen=True)
class KeptExperiment:
    """An experiment of a store."""

    digest: str
    name: str
    at: float
    """When it first ran, in seconds since 1970."""
    environment: Mapping[str, Json]
    """In which it first ran: versions, git revision, machine, variables."""
    yaml: str
    """All its settings; `actstore run` takes them from a file."""


def keep_experiment(storage: Storage, digest: str, name: str, yaml: str) -> bool:
    """Keep an experiment and this process's environment; False, and nothing, if it is there."""
    if storage.exists(_json(digest)):
        return False
    if not storage.exists(join(FOLDER, DOCUMENT)):
        write_group(storage, FOLDER, {})
    record: dict[str, Json] = {
        "digest": digest,
        "name": name,
        "at": time.time(),
        "environment": environment(),
        _YAML_DIGEST: xxhash.xxh3_128_hexdigest(yaml.encode()),
    }
    with suppress(FileExistsError):  # another process keeps the same one, or was killed at it
        storage.create(_yaml(digest), yaml.encode())
    try:
        storage.create(_json(digest), sealed_json(_json(digest), record))
    except FileExistsError:
        return False
    return True


def kept_experiments(storage: Storage) -> list[KeptExperiment]:
    """All of them, by when they first ran. Raises CorruptShardError."""
    found = [_read(storage, digest) for digest in _digests(storage)]
    return sorted(found, key=lambda one: one.at)


def damage(storage: Storage) -> Iterator[Damage]:
    """What is wrong with the experiments; running one again keeps it again."""
    for digest in _digests(storage):
        try:
            _read(storage, digest)
        except CorruptShardError as error:
            for key in (_json(digest), _yaml(digest)):
                yield Damage(key, f"it is of an experiment that is damaged: {error}", remade=True)


def _digests(storage: Storage) -> list[str]:
    names = [name for name in storage.names(FOLDER) if name.endswith(".json") and name != DOCUMENT]
    return [name.removesuffix(".json") for name in names]


def _read(storage: Storage, digest: str) -> KeptExperiment:
    record = read_sealed_json(storage, _json(digest), _FIELDS)
    try:
        yaml = storage.read(_yaml(digest))
    except FileNotFoundError:
        raise damaged(storage, _yaml(digest), "it is missing") from None
    if xxhash.xxh3_128_hexdigest(yaml) != record.pop(_YAML_DIGEST):
        raise damaged(storage, _yaml(digest), "it is not the file that was kept")
    told = {name: record[name] for name in _FIELDS if name != _YAML_DIGEST}
    try:
        return KeptExperiment(**told, yaml=yaml.decode())
    except UnicodeDecodeError as error:
        raise damaged(storage, _yaml(digest), error) from error


def _yaml(digest: str) -> str:
    return join(FOLDER, f"{digest}.yaml")


def _json(digest: str) -> str:
    return join(FOLDER, f"{digest}.json")
