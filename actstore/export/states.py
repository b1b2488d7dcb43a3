"""Pooled and token states as files, in pieces: memory does not grow with what is exported."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr
from numpy.typing import NDArray
from rich.filesize import decimal

from actstore.errors import DiskSpaceError, InvalidInputError
from actstore.export.files import described, with_attributes
from actstore.export.request import ExportRequest
from actstore.progress import progress
from actstore.refs import look_up, parse_layers
from actstore.store import CheckpointGroup, Store

_AT_ONCE = 32 << 20
"""Bytes of states that are held: a piece."""
_MOST_CSV = 1 << 30
"""Bytes of a CSV file of states: more is of no use to anybody."""
_CSV_NUMBER = 13
"""Bytes of a float32 in decimal, with what parts it from the next."""
_TOKEN_LABELS = ("row", "position", "token_id", "is_special", "n_bytes")


@dataclass(frozen=True)
class StatesOf:
    """States of one checkpoint, layer by layer, and what is known of each."""

    group: CheckpointGroup
    layers: tuple[int, ...]
    labels: pd.DataFrame
    """One line a state of a layer."""
    read: Callable[[int, int, int], NDArray[np.float32]]
    """Layer, first line, the one behind the last -> (line, hidden)."""


@dataclass(frozen=True)
class Piece:
    """Some states of one checkpoint and layer."""

    checkpoint: int
    """Which of the exported ones."""
    layer: int
    """Which of the checkpoint's exported ones."""
    low: int
    high: int


def states_of(store: Store, request: ExportRequest) -> list[StatesOf]:
    """What is exported, nothing read yet.

    Raises UnknownNameError, and MissingShardsError for states that were never extracted.
    """
    model = request.model or store.only_model()
    names = store.select_checkpoints(model, request.checkpoints)
    groups = store.checkpoint_groups(model, names)
    make = _pooled if request.what == "states" else _tokens
    found = [make(store, group, request) for group in groups]
    if not any(len(one.labels) for one in found):
        raise InvalidInputError(
            f"{store.url} has no {request.what} of that. See what it has: actstore info {store.url}"
        )
    return found


def n_bytes(states: Sequence[StatesOf]) -> int:
    """Of the states in float32."""
    return sum(4 * len(one.labels) * len(one.layers) * one.group.spec.hidden_size for one in states)


def write_states(states: Sequence[StatesOf], path: Path, attributes: Mapping[str, str]) -> None:
    """Write states to a file, as its ending says.

    Raises InvalidInputError for a CSV file that would be too large, DiskSpaceError.
    """
    suffix = path.suffix
    if suffix == ".csv" and (size := n_bytes(states) // 4 * _CSV_NUMBER) > _MOST_CSV:
        raise InvalidInputError(
            f"These states make a CSV file of about {decimal(size)}. Write .parquet or .nc "
            f"({decimal(n_bytes(states))}), or choose fewer: --layers, --checkpoints, --suite."
        )
    free = shutil.disk_usage(path.parent).free
    if suffix != ".csv" and n_bytes(states) > free:
        raise DiskSpaceError(
            f"These states take {decimal(n_bytes(states))}, and {path.parent} has {decimal(free)} "
            "free. Choose fewer (--layers, --checkpoints, --suite), or another disk."
        )
    writers = {".csv": _write_csv, ".parquet": _write_parquet, ".nc": _write_netcdf}
    writers[suffix](states, path, attributes)


def _pooled(store: Store, group: CheckpointGroup, request: ExportRequest) -> StatesOf:
    pooling = request.pooling or "mean"
    rows = store.text_rows() if request.suite is None else store.rows_of_suite(request.suite)
    group.require(pooling, rows)

    def read(layer: int, low: int, high: int) -> NDArray[np.float32]:
        return group.read(pooling, layer, rows[low:high])

    return StatesOf(group, _layers(group, request.layers), pd.DataFrame({"row": rows}), read)


def _tokens(store: Store, group: CheckpointGroup, request: ExportRequest) -> StatesOf:
    sample = group.token_sample(request.sample)
    used = sample.row >= 0
    if request.suite is not None:
        used &= np.isin(sample.row, store.rows_of_suite(request.suite))
    places = np.flatnonzero(used)
    labels = pd.DataFrame({name: getattr(sample, name)[places] for name in _TOKEN_LABELS})

    def read(layer: int, low: int, high: int) -> NDArray[np.float32]:
        return sample.states_of(layer, places[low:high])

    return StatesOf(group, _layers(group, request.layers), labels, read)


def _layers(group: CheckpointGroup, layers: str) -> tuple[int, ...]:
    if layers == "all":
        return group.layers
    known = [str(layer) for layer in group.layers]
    hint = f"See: actstore info {group.storage.url}"
    asked = parse_layers(layers, group.spec.n_blocks)
    return tuple(int(look_up("stored layer", str(layer), known, hint)) for layer in asked)


def _pieces(states: Sequence[StatesOf]) -> Iterator[tuple[Piece, NDArray[np.float32]]]:
    """All states, by checkpoint and layer."""
    total = sum(len(one.labels) * len(one.layers) for one in states)
    with progress("Exporting", total, "states") as advance:
        for number, one in enumerate(states):
            step = max(_AT_ONCE // (4 * one.group.spec.hidden_size), 1)
            for place, layer in enumerate(one.layers):
                for low in range(0, len(one.labels), step):
                    high = min(low + step, len(one.labels))
                    yield Piece(number, place, low, high), one.read(layer, low, high)
                    advance(high - low)


def _labels_of(states: Sequence[StatesOf], piece: Piece) -> pd.DataFrame:
    """Checkpoint, layer and what else is known of a piece's states."""
    one = states[piece.checkpoint]
    labels = one.labels.iloc[piece.low : piece.high].reset_index(drop=True)
    labels.insert(0, "layer", np.int16(one.layers[piece.layer]))
    labels.insert(0, "checkpoint", one.group.checkpoint)
    return labels


def _write_csv(states: Sequence[StatesOf], path: Path, attributes: Mapping[str, str]) -> None:
    """One line a state: its labels, then h0, h1, …; a CSV file has no place for attributes."""
    del attributes
    hidden = states[0].group.spec.hidden_size
    with path.open("w", newline="", encoding="utf-8") as file:
        names = ["checkpoint", "layer", *states[0].labels.columns]
        csv.writer(file).writerow([*names, *(f"h{i}" for i in range(hidden))])
        for piece, values in _pieces(states):
            table = pd.concat([_labels_of(states, piece), pd.DataFrame(values)], axis=1)
            table.to_csv(file, index=False, header=False)


def _write_parquet(states: Sequence[StatesOf], path: Path, attributes: Mapping[str, str]) -> None:
    """One line a state: its labels, then a list of fixed length, `state`."""
    hidden = states[0].group.spec.hidden_size
    labels = _labels_of(states, Piece(0, 0, 0, 1))
    known = pa.Table.from_pandas(labels, preserve_index=False).schema.remove_metadata()
    state = pa.field("state", pa.list_(pa.float32(), hidden))
    schema = with_attributes(known.append(state), attributes)
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["checkpoint"]) as file:
        for piece, values in _pieces(states):
            labels = _labels_of(states, piece)
            columns = [
                pa.array(labels[name].to_numpy(), schema.field(name).type) for name in labels
            ]
            flat = pa.array(np.ascontiguousarray(values).reshape(-1))
            columns.append(pa.FixedSizeListArray.from_arrays(flat, hidden))
            file.write_table(pa.table(columns, schema=schema))


def _write_netcdf(states: Sequence[StatesOf], path: Path, attributes: Mapping[str, str]) -> None:
    """(checkpoint, layer, text or token, hidden); float16 is none of NetCDF's types."""
    import h5netcdf

    first = states[0]
    for one in states[1:]:
        if one.layers != first.layers or not one.labels.equals(first.labels):
            raise InvalidInputError(
                f"{first.group.checkpoint} and {one.group.checkpoint} have other layers or tokens: "
                "they make no array. Choose --layers that both have, or write .parquet."
            )
    place = "text" if [*first.labels] == ["row"] else "token"
    coordinates = {
        "checkpoint": [one.group.checkpoint for one in states],
        "layer": np.array(first.layers, np.int16),
        **{str(name): (place, first.labels[name].to_numpy()) for name in first.labels},
    }
    labels = described(xr.Dataset(coords=coordinates)).assign_attrs(attributes)
    labels.to_netcdf(path, engine="h5netcdf")
    dims = ("checkpoint", "layer", place, "hidden")
    hidden = first.group.spec.hidden_size
    with h5netcdf.File(path, "a") as file:
        file.dimensions["hidden"] = hidden
        chunk = 1, 1, min(len(first.labels), max(_AT_ONCE // 32 // (4 * hidden), 1)), hidden
        array = file.create_variable("state", dims, np.float32, chunks=chunk)
        array.attrs["units"] = "model units"
        array.attrs["coordinates"] = " ".join(map(str, first.labels))
        for piece, values in _pieces(states):
            array[piece.checkpoint, piece.layer, piece.low : piece.high] = values
