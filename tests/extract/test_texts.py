"""Reading texts from files of every kind, and what is said of files that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.extract import read_texts

TEXTS = ["one", "two, with “quotes”", "three\u2028in one line", "one"]


def write(folder: Path, kind: str) -> Path:
    path, table = folder / f"texts.{kind}", pd.DataFrame({"id": range(4), "text": TEXTS})
    match kind:
        case "txt":
            path.write_text("\n\n".join(TEXTS) + "\r\n", "utf-8")
        case "jsonl":
            lines = [json.dumps({"id": i, "text": t}) for i, t in enumerate(TEXTS)]
            path.write_text("\n".join(lines) + "\n\n", "utf-8")
        case "csv":
            table.to_csv(path, index=False)
        case "tsv":
            table.to_csv(path, index=False, sep="\t")
        case "parquet":
            table.to_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["txt", "jsonl", "csv", "tsv", "parquet"])
def test_every_kind_of_file_gives_its_texts_in_order(kind: str, tmp_path: Path) -> None:
    assert read_texts(write(tmp_path, kind)) == TEXTS


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_another_column_is_named_or_suggested(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"'txt'.*'text'.*--column"):
        read_texts(write(tmp_path, kind), "txt")


def test_numbers_in_a_text_column_of_a_csv_stay_as_written(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\n007\nNA\n", "utf-8")
    assert read_texts(tmp_path / "a.csv") == ["007", "NA"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.doc", b"text", r"kind of .*a\.doc.*\.jsonl"),
        ("a.txt", b"\n \n", "holds no text"),
        ("a.txt", b"caf\xe9", "not UTF-8 .byte 3"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "b"', "line 2 is no JSON"),
        ("a.jsonl", b'["a"]', "line 1 is a list"),
        ("a.jsonl", b'{"text": 3}', "line 1: the text is int 3"),
        ("a.csv", b"text,id\n,1\n", "row 0: the text is empty"),
        ("a.csv", b"", "no table"),
        ("a.parquet", b"PAR1", "no Parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_apart(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInputError, match=message):
        read_texts(tmp_path / name)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no file .*none\.txt"):
        read_texts(tmp_path / "none.txt")
