"""A lens head on disk: its program in a group's attributes, its arrays below it.

Every checkpoint's group holds a whole head, so that it can be copied or dropped alone. Arrays that
two checkpoints of a model have in common (an unembedding that an adapter leaves alone, the norm of
two copies) have their bytes stored once, where the storage can: on a disk they are hard links.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from actstore.errors import CorruptShardError
from actstore.store.arrays.chunked import (
    array_digest,
    read_array,
    write_array,
    wrong_chunk,
)
from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
    read_attributes,
    write_group,
)
from actstore.store.heads.head import LensHead
from actstore.store.heads.head_ops import Floats
from actstore.store.records.documents import Fields, is_file_name, is_text, table_of, wrong_field
from actstore.store.records.journal import Json
from actstore.store.storage import Storage, join

_ROWS_PER_CHUNK = 4096
_FIELDS: Fields = {"digests": table_of(is_text, names=is_file_name)}


def write_head(storage: Storage, prefix: str, head: LensHead) -> None:
    """Store a head under models/{model}/{checkpoint}/head; its group's document comes last."""
    digests = {name: array_digest(values) for name, values in head.arrays.items()}
    elsewhere = _arrays_by_digest(storage, prefix)
    for name, values in head.arrays.items():
        dims = tuple(f"{name}_{axis}" for axis in range(values.ndim))
        twin = elsewhere.get(digests[name])
        write_array(storage, join(prefix, name), values, dims, _ROWS_PER_CHUNK, twin=twin)
    write_group(storage, prefix, {**head.to_json(), "digests": cast(Json, digests)})


def read_head(storage: Storage, prefix: str) -> LensHead:
    """A stored head. Raises FileNotFoundError for none, CorruptShardError for a damaged one."""
    program = read_attributes(storage, prefix)
    digests = _digests(program, prefix)
    arrays = {name: _read(storage, join(prefix, name), told) for name, told in digests.items()}
    return LensHead.from_json(program, arrays)


def check_head(storage: Storage, prefix: str, *, quick: bool) -> None:
    """Raise CorruptShardError, naming the array, unless a stored head is all that was written.

    quick: only that everything is there, in its size. Otherwise each array's digest.
    """
    if quick:
        for name in _digests(read_attributes(storage, prefix), prefix):
            _require_chunks(storage, join(prefix, name))
    else:
        read_head(storage, prefix)


def _read(storage: Storage, prefix: str, told: str) -> Floats:
    _require_chunks(storage, prefix)
    try:
        values: Floats = read_array(storage, prefix)
    except CorruptShardError as error:
        raise _damaged(f"{prefix} fails its crc32c") from error
    if array_digest(values) != told:
        raise _damaged(f"{prefix} is not the array that was written there")
    if values.dtype.kind != "f":
        raise _damaged(f"{prefix} is of {values.dtype}")
    return values


def _require_chunks(storage: Storage, prefix: str) -> None:
    """Raise CorruptShardError unless every chunk is there, in its size."""
    if wrong := wrong_chunk(storage, prefix):
        raise _damaged(wrong)


def _damaged(what: str) -> CorruptShardError:
    again = "Remove it with actstore verify STORE --repair, then extract with --lens-head."
    return CorruptShardError(f"{what}. {again}")


def _arrays_by_digest(storage: Storage, prefix: str) -> dict[str, str]:
    """Where the lens heads of the model's other checkpoints have an array, by its digest."""
    model, checkpoint, name = prefix.rsplit("/", 2)
    found: dict[str, str] = {}
    for other in storage.names(model):
        group = join(model, other, name)
        if other != checkpoint and storage.exists(join(group, DOCUMENT)):
            digests = _digests(read_attributes(storage, group), group)
            found.update({told: join(group, array) for array, told in digests.items()})
    return found


def _digests(program: Mapping[str, Any], prefix: str) -> Mapping[str, str]:
    """The digest of each array, by its name."""
    if wrong := wrong_field(dict(program), _FIELDS):
        raise _damaged(f"{prefix} has no digests of its arrays: {wrong}")
    return cast(Mapping[str, str], program["digests"])
