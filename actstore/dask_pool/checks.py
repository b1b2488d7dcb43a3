"""Whether workers have what they need, asked before they compute anything."""

from __future__ import annotations

import importlib
import platform
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from actstore.addresses import is_url
from actstore.dask_pool.places import WorkerNeeds
from actstore.errors import InvalidInputError

_SHOWN = 8
_Found = Mapping[str, Any]


def check_workers(client: Any, needs: WorkerNeeds) -> None:
    """Raise InvalidInputError that says which workers lack what: versions, or the store.

    Only those that are there now are asked.
    """
    packages = ("actstore", *needs.packages)
    probe = _probe(packages, needs.store)
    here = probe()
    complaints: list[str] = []
    for address, found in client.run(probe, on_error="return").items():
        if isinstance(found, BaseException):
            complaints.append(f"{address}: {type(found).__name__}: {found}")
        else:
            complaints += _complaints(f"{found['host']} ({address})", found, here, needs)
    if complaints:
        shown = "".join(f"\n- {line}" for line in complaints[:_SHOWN])
        more = f"\n- … and {len(complaints) - _SHOWN} more" if len(complaints) > _SHOWN else ""
        raise InvalidInputError(
            f"The Dask workers cannot compute what this process would:{shown}{more}\n"
            "Start them from the same environment, on machines that reach the store."
        )


def _complaints(worker: str, found: _Found, here: _Found, needs: WorkerNeeds) -> Iterator[str]:
    for name, ours in here["versions"].items():
        theirs = found["versions"][name]
        if theirs != ours:
            yield f"{worker} has {f'{name} {theirs}' if theirs else f'no {name}'}, here is {ours}"
    if found["store"] is None:
        yield f"{worker} does not reach {needs.store}: {found['why']}"
    elif found["store"] != here["store"]:
        yield f"{worker} has another store at {needs.store}"


def _probe(packages: Sequence[str], store: str) -> Callable[[], _Found]:
    """A function that finds out what a process has.

    It is sent to workers as code, since it is no module's, and uses nothing of actstore where it
    can: theirs may be another, or missing.
    """
    path = None if is_url(store) else Path(store, "zarr.json")

    def probe() -> _Found:
        versions: dict[str, str | None] = {"python": platform.python_version()}
        for name in packages:
            try:
                versions[name] = version(name)
            except PackageNotFoundError:
                versions[name] = None
        document, why = None, ""
        try:
            if path is None:
                storage = importlib.import_module("actstore.store.storage").open_storage(store)
                document = storage.read("zarr.json")
            else:
                document = path.read_bytes()
        except Exception as error:  # of whatever library reads it
            why = str(error)
        found = None if document is None else zlib.crc32(document)
        return {"host": platform.node(), "versions": versions, "store": found, "why": why}

    return probe
