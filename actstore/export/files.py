"""Tables and labelled arrays as files, each whole or not there."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr

from actstore.errors import InvalidInputError, MissingDependencyError
from actstore.export.provenance import MEANINGS, UNITS

SUFFIXES = (".csv", ".parquet", ".nc")
ATTRIBUTES = b"actstore"
"""The key of a Parquet file's metadata under which its attributes are, as JSON."""


@contextmanager
def whole(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A file to write to, which becomes `out` once it is complete.

    Raises InvalidInputError for another ending, a folder that is not there, and a file that is.
    """
    check_place(out, overwrite=overwrite)
    partial = out.with_name(f".{out.stem}.{uuid.uuid4().hex}.partial{out.suffix}")
    try:
        yield partial
        os.replace(partial, out)  # noqa: PTH105 (replaces what is there, on every system)
    finally:
        partial.unlink(missing_ok=True)


def check_place(out: Path, *, overwrite: bool) -> None:
    """Raise InvalidInputError unless a file can be written there."""
    if out.suffix not in SUFFIXES:
        raise InvalidInputError(
            f"{out} ends in {out.suffix or 'nothing'}: write a table to .csv or .parquet, labelled "
            "arrays to .nc (NetCDF)."
        )
    if not out.absolute().parent.is_dir():
        raise InvalidInputError(f"There is no folder {out.parent}. Run: mkdir -p {out.parent}")
    if out.exists() and not overwrite:
        raise InvalidInputError(f"{out} is there. Give another name, or replace it: --overwrite")
    if out.suffix == ".nc":
        require_netcdf()


def require_netcdf() -> None:
    """Raise MissingDependencyError unless NetCDF can be written."""
    try:
        import h5netcdf  # noqa: F401
        import h5py  # noqa: F401 (h5netcdf writes with it)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"NetCDF needs {error.name}. Run: pip install 'actstore[export]'"
        ) from error


def write_table(table: pd.DataFrame, path: Path, attributes: Mapping[str, str]) -> None:
    """A table as `.csv`, which has no place for attributes, or `.parquet`, which has."""
    if path.suffix == ".csv":
        table.to_csv(path, index=False, na_rep="NaN")  # an empty field is an empty text
        return
    found = pa.Table.from_pandas(table, preserve_index=False)
    pq.write_table(found.cast(with_attributes(found.schema, attributes)), path, compression="zstd")


def with_attributes(schema: pa.Schema, attributes: Mapping[str, str]) -> pa.Schema:
    """A schema whose fields say their units, and which says where the numbers are from."""
    told = json.dumps(dict(attributes), sort_keys=True).encode()
    fields = [field.with_metadata(_told(field.name)) for field in schema]
    return pa.schema(fields, {**(schema.metadata or {}), ATTRIBUTES: told})


def write_arrays(dataset: xr.Dataset, path: Path, attributes: Mapping[str, str]) -> None:
    """A dataset as NetCDF-4."""
    described(dataset).assign_attrs(attributes).to_netcdf(path, engine="h5netcdf")


def described(dataset: xr.Dataset) -> xr.Dataset:
    """A dataset whose variables say their units, with names as NetCDF keeps them."""
    variables = {name: _described(str(name), one) for name, one in dataset.variables.items()}
    coordinates = {name: variables.pop(name) for name in dataset.coords}
    return xr.Dataset(variables, coordinates)


def as_records(table: pd.DataFrame) -> xr.Dataset:
    """A table as variables of one dimension, `record`."""
    columns = {str(name): ("record", table[name].to_numpy()) for name in table.columns}
    return xr.Dataset(columns)


def _described(name: str, variable: xr.Variable) -> xr.Variable:
    values = variable.to_numpy()
    if values.dtype.kind in "OUT":
        values = np.array(["" if pd.isna(v) else str(v) for v in values.ravel()], object)
        values = values.reshape(variable.shape)
    attributes = {"units": UNITS.get(name), "long_name": MEANINGS.get(name)}
    return xr.Variable(variable.dims, values, {k: v for k, v in attributes.items() if v})


def _told(name: str) -> dict[str, str]:
    found = {"units": UNITS.get(name), "long_name": MEANINGS.get(name)}
    return {key: value for key, value in found.items() if value}
