"""The experiments that a store was filled by: each as it was resolved, and where it first ran.

Two files an experiment, named by its digest: the YAML, which can be run again, then JSON, written
last, without which it does not count.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from actstore.store.environment import environment
from actstore.store.journal import Json
from actstore.store.storage import Storage, join
from actstore.store.zarr_metadata import DOCUMENT, write_group

FOLDER = "experiments"


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
    record = {"digest": digest, "name": name, "at": time.time(), "environment": environment()}
    with suppress(FileExistsError):  # another process keeps the same one, or was killed at it
        storage.create(_yaml(digest), yaml.encode())
    try:
        storage.create(_json(digest), json.dumps(record, indent=1).encode())
    except FileExistsError:
        return False
    return True


def kept_experiments(storage: Storage) -> list[KeptExperiment]:
    """All of them, by when they first ran."""
    digests = [
        name.removesuffix(".json")
        for name in storage.names(FOLDER)
        if name.endswith(".json") and name != DOCUMENT
    ]
    return sorted((_read(storage, digest) for digest in digests), key=lambda one: one.at)


def _read(storage: Storage, digest: str) -> KeptExperiment:
    record = json.loads(storage.read(_json(digest)))
    return KeptExperiment(**record, yaml=storage.read(_yaml(digest)).decode())


def _yaml(digest: str) -> str:
    return join(FOLDER, f"{digest}.yaml")


def _json(digest: str) -> str:
    return join(FOLDER, f"{digest}.json")
