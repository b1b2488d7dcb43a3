from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from actstore.errors import InvalidInputError
from actstore.yaml_files import read_value, read_yaml, write_yaml

_TRAPS = ["24:00:00", "2:8", "no", "off", "1e3", "1_000", "0x1F", "2026-01-01", "=", "<<", "-4:"]


def _file(folder: Path, text: str) -> Path:
    path = folder / "one.yaml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("text", ["24:00:00", "2:8", "no", "off", "1_000", "0x1F", "2026-01-01"])
def test_what_only_yaml_1_1_takes_for_a_number_or_a_truth_value_is_text(
    text: str, tmp_path: Path
) -> None:
    assert read_yaml(_file(tmp_path, f"a: {text}")).value == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-4", -4),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ('"3"', "3"),
        ("[a, {b: 1}]", ["a", {"b": 1}]),
    ],
)
def test_values_are_those_of_yaml_1_2(text: str, value: object, tmp_path: Path) -> None:
    assert read_yaml(_file(tmp_path, f"a: {text}")).value == {"a": value}
    assert read_value(text, "a=") == value


def test_every_key_and_item_has_its_line(tmp_path: Path) -> None:
    read = read_yaml(_file(tmp_path, "a: 1\n\nb:\n  c: [x,\n    y]\n"))
    assert read.lines == {("a",): 1, ("b",): 3, ("b", "c"): 4, ("b", "c", 0): 4, ("b", "c", 1): 5}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\na: 2", "line 2: the key 'a' is there twice"),
        ("b: 1\na: -4:", "line 2 is no YAML: mapping values are not allowed here.*quotes"),
        ("a: &x [*x]", "line 1: the alias in a.0 is inside what it stands for"),
        ("a: !!python/object:os.system x", "line 1: tag.*leave the tag out"),
        ("a: !!int x", "line 1: 'x' is no int"),
        ("{[a]: 1}", "line 1: a key must be a word"),
        ("a: 1\n---\nb: 2", "line 2 is no YAML"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=f"one.yaml, {told}"):
        read_yaml(_file(tmp_path, text))


def test_a_path_that_is_no_text_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="There is no file"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(InvalidInputError, match="is a folder"):
        read_yaml(tmp_path)
    (tmp_path / "x.yaml").write_bytes(b"a: \xff")
    with pytest.raises(InvalidInputError, match="UTF-8"):
        read_yaml(tmp_path / "x.yaml")


def test_a_typed_value_that_yaml_would_take_apart_is_the_text_itself() -> None:
    assert read_value("-4:", "layers=-4:") == "-4:"
    assert read_value("a: b", "x=a: b") == "a: b"
    with pytest.raises(InvalidInputError, match="x=.*quotes"):
        read_value("*a", "x=*a")


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(_TRAPS)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "no", "1"]), inside, max_size=3)
    ),
    max_leaves=8,
)


@given(value=_VALUES)
def test_what_is_written_is_read_the_same(
    value: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    path.write_text(write_yaml({"value": value}), "utf-8")
    assert read_yaml(path).value == {"value": value}


@pytest.mark.parametrize("text", _TRAPS)
def test_text_that_other_programs_would_misread_is_quoted(text: str) -> None:
    assert yaml.safe_load(write_yaml({"a": text})) == {"a": text}
