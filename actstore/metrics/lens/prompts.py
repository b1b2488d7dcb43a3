"""Prompts from a user's file, with what should follow them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from actstore.errors import InvalidInputError

_FIELDS = ("prompt", "text")


@dataclass(frozen=True)
class Asked:
    """A prompt, and the token to look for after it."""

    text: str
    gold: str | None = None


def read_prompts(file: Path) -> list[Asked]:
    """The prompts of a file, in order.

    .jsonl: objects with `prompt` (or `text`), and `gold` if there is one. Any other: a prompt a
    line; empty lines are left out. UTF-8. Raises InvalidInputError, naming the line.
    """
    if not file.is_file():
        raise InvalidInputError(f"There is no file {file} to read prompts from.")
    try:
        lines = file.read_text("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"{file} is not UTF-8 (byte {error.start}). Convert it: iconv -t UTF-8 FILE."
        ) from error
    numbered = [(i, line.removesuffix("\r")) for i, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise InvalidInputError(f"{file} holds no prompt.")
    if file.suffix.lower() != ".jsonl":
        return [Asked(line) for _, line in numbered]
    return [_from_json(f"{file}, line {number}", line) for number, line in numbered]


def _from_json(where: str, line: str) -> Asked:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"{where} is no JSON: {error.msg}.") from error
    found = [record[name] for name in _FIELDS if name in record] if isinstance(record, dict) else []
    if not found or not isinstance(found[0], str) or not found[0]:
        raise InvalidInputError(
            f'{where} has no prompt. Write: {{"prompt": "The capital is", "gold": " Berlin"}}'
        )
    gold = record.get("gold")
    if gold is not None and not isinstance(gold, str):
        raise InvalidInputError(f"{where}: gold is {gold!r}. Write the token as a string.")
    return Asked(found[0], gold)
