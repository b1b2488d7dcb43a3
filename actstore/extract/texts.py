"""Texts from a user's file: plain text, JSON lines, CSV or Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from actstore.errors import InvalidInputError
from actstore.refs import look_up


def read_texts(path: Path, column: str = "text") -> list[str]:
    """The texts of a file, in order, repeats included.

    .txt: one text a line, empty lines left out. .jsonl: objects with the field `column`. .csv,
    .tsv and .parquet: tables with that column. Text files are UTF-8. Raises InvalidInputError
    naming the line of what is no text, UnknownNameError for a column that is not there.
    """
    if not path.is_file():
        raise InvalidInputError(f"There is no file {path} to read texts from.")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidInputError(
            f"Cannot tell the kind of {path}. Name it as what it is: {', '.join(_READERS)}."
        )
    try:
        texts = reader(path, column)
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"{path} is not UTF-8 (byte {error.start}). Convert it: iconv -t UTF-8 FILE."
        ) from error
    if not texts:
        raise InvalidInputError(f"{path} holds no text.")
    return texts


def _read_lines(path: Path, _: str) -> list[str]:
    lines = path.read_text("utf-8").split("\n")
    return [text for line in lines if (text := line.removesuffix("\r")).strip()]


def _read_json_lines(path: Path, column: str) -> list[str]:
    texts = []
    for number, line in enumerate(path.read_text("utf-8").split("\n"), start=1):
        if line.strip():
            texts.append(_field(path, number, line, column))
    return texts


def _field(path: Path, number: int, line: str, column: str) -> str:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"{path}, line {number} is no JSON: {error.msg}.") from error
    if not isinstance(record, dict):
        raise InvalidInputError(f"{path}, line {number} is a {type(record).__name__}, no object.")
    look_up(f"field in line {number} of {path}", column, list(record), "Choose one with --column.")
    return _require_text(path, f"line {number}", record[column])


def _read_csv(path: Path, column: str, separator: str = ",") -> list[str]:
    try:
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InvalidInputError(f"{path} is no table: {error}.") from error
    return _column(path, table, column)


def _read_tsv(path: Path, column: str) -> list[str]:
    return _read_csv(path, column, "\t")


def _read_parquet(path: Path, column: str) -> list[str]:
    import pyarrow

    try:
        table = pd.read_parquet(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InvalidInputError(f"{path} is no Parquet file: {error}") from error
    return _column(path, table, column)


def _column(path: Path, table: pd.DataFrame, column: str) -> list[str]:
    names = [str(name) for name in table.columns]
    look_up(f"column in {path}", column, names, "Choose one with --column.")
    return _all_texts(path, table[column].tolist())


def _all_texts(path: Path, values: Iterable[object]) -> list[str]:
    return [_require_text(path, f"row {i}", value) for i, value in enumerate(values)]


def _require_text(path: Path, where: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        shown = "empty" if value == "" else f"{type(value).__name__} {value!r}"
        raise InvalidInputError(f"{path}, {where}: the text is {shown:.60}. Remove or fill it.")
    return value


_READERS: dict[str, Callable[[Path, str], list[str]]] = {
    ".txt": _read_lines,
    ".jsonl": _read_json_lines,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
}
