"""Prompt files."""

from __future__ import annotations

from pathlib import Path

import pytest

from actstore.errors import InvalidInputError
from actstore.metrics.lens.prompts import Asked, read_prompts


def test_a_line_is_a_prompt_to_the_last_space(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes("The capital is \r\n\n  Ein Schloß\n".encode())
    assert read_prompts(file) == [Asked("The capital is "), Asked("  Ein Schloß")]


def test_json_lines_may_say_what_should_follow(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "a\\nb", "gold": " c"}\n\n{"text": "d", "id": 4}\n', "utf-8")
    assert read_prompts(file) == [Asked("a\nb", " c"), Asked("d")]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.txt", b"\n \n", "holds no prompt"),
        ("p.txt", b"\xff\xfe", "not UTF-8"),
        ("p.jsonl", b'{"prompt": "a"}\n{', "line 2 is no JSON"),
        ("p.jsonl", b'\n"a"', 'line 2 has no prompt.*"gold"'),
        ("p.jsonl", b'{"prompt": ""}', "line 1 has no prompt"),
        ("p.jsonl", b'{"prompt": "a", "gold": 7}', "line 1: gold is 7"),
    ],
)
def test_what_is_no_prompt_is_named_by_its_line(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInputError, match=said):
        read_prompts(tmp_path / name)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no file .*none\.txt"):
        read_prompts(tmp_path / "none.txt")
