"""Fitted lenses on disk: for every layer an affine map of its states onto the last layer's.

A lens belongs to the states and the lens head it was fitted to: their digests are kept with it,
and it is not read once they have changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from shlex import quote
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from actstore import __version__
from actstore.errors import CorruptShardError, PlanMismatchError
from actstore.refs import look_up
from actstore.store import schema
from actstore.store.arrays.chunked import (
    chunk_key,
    decode_chunk,
    encode_chunk,
    write_array,
    wrong_layers,
)
from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
    chunked_array,
    read_attributes,
    write_document,
    write_group,
)
from actstore.store.heads.head_ops import array_names, op_from_json
from actstore.store.records.documents import (
    Fields,
    damaged,
    is_file_name,
    is_table,
    is_text,
    is_word,
    list_of,
    table_of,
    whole_from,
)
from actstore.store.records.journal import Json
from actstore.store.records.ledger import digest
from actstore.store.storage import join

if TYPE_CHECKING:
    from actstore.store.checkpoint import CheckpointGroup

_FOLDER = "lenses"
_ARRAYS = (schema.LENS_WEIGHT, schema.LENS_BIAS)
_DTYPE = "float32"
_SHOWN = 8
_FIELDS: Fields = {
    "name": is_file_name,
    "layers": list_of(whole_from(0), least=1),
    "last_layer": whole_from(0),
    "plan": is_text,
    "kind": is_word,
    "sample": is_word,
    "head": is_text,
    "states": is_text,
    "digests": table_of(is_text),
}
"""What a lens's attributes must have."""


@dataclass(frozen=True, eq=False)  # arrays do not compare to a truth value
class StoredLens:
    """A fitted lens: at each of its layers, weight h + bias estimates the last layer's state."""

    name: str
    layers: tuple[int, ...]
    """Ascending; without the last one, which needs no translation."""
    last_layer: int
    weight: NDArray[np.float32]
    """(layer, hidden out, hidden in)."""
    bias: NDArray[np.float32]
    """(layer, hidden out)."""
    fitted: Mapping[str, Any]
    """How and to what: see docs/store-format.md."""


@dataclass
class LensWriter:
    """Writes a lens layer by layer; it exists once `finish` has written its group's document."""

    group: CheckpointGroup
    name: str
    layers: tuple[int, ...]
    _digests: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        folder = join(self.group.prefix, _FOLDER)
        write_group(self.group.storage, folder, {})
        # one that is there ends here: its maps are about to be overwritten
        self.group.storage.delete(join(self.prefix, DOCUMENT))

    @property
    def prefix(self) -> str:
        return lens_prefix(self.group, self.name)

    def put(self, layer: int, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        """Write the map of one layer: (hidden out, hidden in) and (hidden out,)."""
        for declared, values in zip(_ARRAYS, (weight, bias), strict=True):
            data = encode_chunk(values[None].astype(_DTYPE))
            n_dims = values.ndim + 1
            key = chunk_key(join(self.prefix, declared.name), self.layers.index(layer), n_dims)
            self.group.storage.replace(key, data)
            self._digests[f"{declared.name}/{layer}"] = digest(data)

    def finish(self, fitted: Mapping[str, Json]) -> None:
        """Make the lens count. Every layer must have been put.

        fitted: how it was fitted, and to what: kind, sample, digests, settings, what it achieved.
        """
        storage, hidden = self.group.storage, self.group.spec.hidden_size
        for declared in _ARRAYS:
            shape = (len(self.layers), *[hidden] * (len(declared.dims) - 1))
            document = chunked_array(shape, _DTYPE, 1, declared.dims)
            write_document(storage, join(self.prefix, declared.name), document)
        layers = np.array(self.layers, schema.LAYER.dtype)
        write_array(storage, join(self.prefix, "layer"), layers, schema.LAYER.dims, len(layers))
        attributes: dict[str, Json] = {
            **fitted,
            "name": self.name,
            "layers": list(self.layers),
            "last_layer": self.group.spec.n_blocks,
            "plan": self.group.spec.digest(),
            "actstore": __version__,
            "digests": cast(Json, self._digests),
        }
        write_group(storage, self.prefix, attributes, consolidate=True)


def lens_names(group: CheckpointGroup) -> list[str]:
    """The lenses that were fitted to a checkpoint, whole ones only."""
    folder = join(group.prefix, _FOLDER)
    names = group.storage.names(folder)
    return [name for name in names if group.storage.exists(join(folder, name, DOCUMENT))]


def lens_prefix(group: CheckpointGroup, name: str) -> str:
    """The group of a lens."""
    return join(group.prefix, _FOLDER, name)


def read_lens(group: CheckpointGroup, name: str) -> StoredLens:
    """A fitted lens.

    Raises UnknownNameError for none of that name, PlanMismatchError for one fitted to states or a
    head that have changed since, CorruptShardError for a damaged one.
    """
    fitted = lens_attributes(group, name)
    if why := why_stale(group, fitted):
        raise PlanMismatchError(
            f"The lens {name!r} of {group.model} at {group.checkpoint} is out of date: {why}. "
            f"Fit it again: {_command(group, fitted['kind'], fitted['sample'])}"
        )
    weight, bias = (_read(group, fitted, declared.name) for declared in _ARRAYS)
    return StoredLens(name, tuple(fitted["layers"]), fitted["last_layer"], weight, bias, fitted)


def lens_attributes(group: CheckpointGroup, name: str) -> dict[str, Any]:
    """How a lens was fitted, and to what; also of one that is out of date. UnknownNameError."""
    add = f"Fit it: {_command(group, name)}"
    look_up("fitted lens", name, lens_names(group), add)
    prefix = lens_prefix(group, name)
    fitted = read_attributes(group.storage, prefix, _FIELDS)
    if fitted["name"] != name or max(fitted["layers"]) > group.spec.n_blocks:
        what = f"it is the lens {fitted['name']!r} of layers {fitted['layers'][:_SHOWN]}"
        raise damaged(group.storage, join(prefix, DOCUMENT), what)
    return fitted


def check_lens(group: CheckpointGroup, name: str, *, quick: bool) -> None:
    """Raise CorruptShardError, naming the object, unless a lens is all that was written.

    quick: only that everything is there, in its size. Whether it is out of date is not looked at.
    """
    fitted = lens_attributes(group, name)
    for declared in _ARRAYS:
        if quick:
            _require_chunks(group, fitted, declared.name)
        else:
            _read(group, fitted, declared.name)
    if wrong := wrong_layers(group.storage, lens_prefix(group, name), fitted["layers"]):
        raise CorruptShardError(f"{wrong}. Fit it again: {fit_command(group, fitted)}")


def why_stale(group: CheckpointGroup, fitted: Mapping[str, Any]) -> str:
    """What a lens was fitted to and is otherwise by now, in words; empty if nothing is.

    fitted: its attributes. States or a head that are no longer stored have not changed.
    """
    if fitted["plan"] != group.spec.digest():
        return "the checkpoint's plan has changed"
    if group.has_head() and fitted["head"] != head_digest(group):
        return "the lens head has changed"
    sample = fitted["sample"]
    if sample in group.token_samples() and fitted["states"] != states_digest(group, sample):
        return f"the states of the token sample {sample!r} have changed"
    return ""


def states_digest(group: CheckpointGroup, sample: str) -> str:
    """Of a token sample's states as they were committed, shard by shard, and of its tokens."""
    array = group.token_sample(sample).array.name
    shards = {
        str(record["shard"]): [record["content"], record["digest"]]
        for record in group.ledger.records()
        if record["array"] == array
    }
    return _digest_of([group.spec.digest(), shards])


def head_digest(group: CheckpointGroup) -> str:
    """Of the lens head's program, and of the arrays that it uses."""
    program = read_attributes(group.storage, group.head_prefix, {"digests": is_table})
    try:
        names = sorted(name for op in program["ops"] for name in array_names(op_from_json(op)))
        told = [program["digests"][name] for name in names]
    except (KeyError, TypeError, ValueError) as error:
        what = f"it is no lens head this actstore knows ({error!r})"
        raise damaged(group.storage, join(group.head_prefix, DOCUMENT), what) from error
    return _digest_of([program["ops"], told])


def _digest_of(value: Any) -> str:
    return digest(json.dumps(value, sort_keys=True).encode())


def _read(group: CheckpointGroup, fitted: Mapping[str, Any], name: str) -> NDArray[np.float32]:
    """One array of a lens, (layer, …), each chunk compared with what was written."""
    hidden, maps = group.spec.hidden_size, list[NDArray[Any]]()
    shape = [hidden] * (len(_dims_of(name)) - 1)
    for layer, key in _chunks(group, fitted, name).items():
        try:
            data = group.storage.read(key)
        except FileNotFoundError:
            raise _damaged(group, fitted, f"{key} is missing") from None
        if digest(data) != fitted["digests"].get(f"{name}/{layer}"):
            raise _damaged(group, fitted, f"{key} is not what was written there")
        try:
            maps.append(decode_chunk(data, _DTYPE).reshape(shape))
        except ValueError as error:
            raise _damaged(group, fitted, f"{key} is no map of {hidden} values: {error}") from error
    return np.stack(maps).astype(np.float32, copy=False)


def _require_chunks(group: CheckpointGroup, fitted: Mapping[str, Any], name: str) -> None:
    n_values = group.spec.hidden_size ** (len(_dims_of(name)) - 1)
    n_bytes = len(encode_chunk(np.empty(0, _DTYPE))) + n_values * np.dtype(_DTYPE).itemsize
    for key in _chunks(group, fitted, name).values():
        if not group.storage.exists(key):
            raise _damaged(group, fitted, f"{key} is missing")
        with group.storage.open(key) as reader:
            if reader.size != n_bytes:
                what = f"{key} has {reader.size} bytes, {n_bytes} were written"
                raise _damaged(group, fitted, what)


def _chunks(group: CheckpointGroup, fitted: Mapping[str, Any], name: str) -> dict[int, str]:
    """The key of each layer's chunk of an array."""
    prefix = join(lens_prefix(group, fitted["name"]), name)
    layers: Sequence[int] = fitted["layers"]
    return {layer: chunk_key(prefix, i, len(_dims_of(name))) for i, layer in enumerate(layers)}


def _dims_of(name: str) -> tuple[str, ...]:
    return next(declared.dims for declared in _ARRAYS if declared.name == name)


def _damaged(group: CheckpointGroup, fitted: Mapping[str, Any], what: str) -> CorruptShardError:
    return CorruptShardError(f"{what}. Fit the lens again: {fit_command(group, fitted)}")


def fit_command(group: CheckpointGroup, fitted: Mapping[str, Any]) -> str:
    """What fits a lens again. fitted: its attributes."""
    return f"{_command(group, fitted['kind'], fitted['sample'])} --overwrite"


def _command(group: CheckpointGroup, kind: str, sample: str = "sample") -> str:
    of_sample = "" if sample == "sample" else f" --tokens-name {quote(sample)}"
    return (
        f"actstore fit-lens {group.storage.url} --lens {quote(kind)} --model {quote(group.model)} "
        f"--checkpoints {quote(group.checkpoint)}{of_sample}"
    )
