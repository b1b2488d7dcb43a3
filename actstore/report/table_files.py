"""Tables as files: CSV, Parquet, Markdown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from actstore.errors import ActstoreError, InvalidInputError
from actstore.refs import look_up
from actstore.report.analysis import analysis_table, analysis_tables
from actstore.report.analysis_query import AnalysisQuery
from actstore.store import Store
from actstore.store.storage import LocalStorage


@dataclass(frozen=True)
class WrittenTable:
    """A table that was written, or why it was not."""

    kind: str
    path: Path | None
    n_rows: int
    problem: str = ""


def write_tables(
    store: Store, kind: str, folder: Path, table_format: str, query: AnalysisQuery
) -> list[WrittenTable]:
    """Write one of TABLES, or `all`, as `<folder>/<kind>.<csv|parquet|md>`; whole or not.

    table_format: csv, parquet or markdown. Of all, those of which the store has no data are named
    with the reason. Raises UnknownNameError; InvalidInputError for a folder that is a file, and
    what `analysis_table` raises where one is asked for.
    """
    look_up("format", table_format, [*_FORMATS], "Write for instance: --format csv")
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"{folder} is a file. Give a folder: --out tables")
    if kind != "all":
        return [_written(kind, analysis_table(store, kind, query), folder, table_format)]
    return [
        WrittenTable(name, None, 0, str(found))
        if isinstance(found, ActstoreError)
        else _written(name, found, folder, table_format)
        for name, found in analysis_tables(store, query)
    ]


def _written(kind: str, table: pd.DataFrame, folder: Path, table_format: str) -> WrittenTable:
    suffix, encode = _FORMATS[table_format]
    name = f"{kind}.{suffix}"
    folder.mkdir(parents=True, exist_ok=True)
    LocalStorage(folder.absolute()).replace(name, encode(table))
    return WrittenTable(kind, folder / name, len(table))


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False).encode()


def _parquet(table: pd.DataFrame) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _markdown(table: pd.DataFrame) -> bytes:
    """Numbers with five digits; a dash where there is none."""
    shown = table.astype(object).where(table.notna(), "–")
    escaped = shown.map(
        lambda value: value.replace("|", r"\|") if isinstance(value, str) else value
    )
    return f"{escaped.to_markdown(index=False, floatfmt='.5g')}\n".encode()


_FORMATS: dict[str, tuple[str, Callable[[pd.DataFrame], bytes]]] = {
    "csv": ("csv", _csv),
    "parquet": ("parquet", _parquet),
    "markdown": ("md", _markdown),
}
