from __future__ import annotations

import argparse
import inspect
import json.decoder
import sys

import pytest

from actstore import stdlib_text
from actstore.errors import MissingDependencyError
from actstore.stdlib_text import StdlibText, comments, docstrings


def _find(module: str, name: str) -> StdlibText:
    (found,) = (text for text in docstrings() if (text.module, text.name) == (module, name))
    return found


def test_a_docstring_is_the_one_that_python_shows() -> None:
    raw_decode = _find("json.decoder", "JSONDecoder.raw_decode")
    assert raw_decode.text == inspect.getdoc(json.decoder.JSONDecoder.raw_decode)
    assert (raw_decode.kind, raw_decode.package) == ("function", "json")


def test_modules_and_classes_have_their_own_kind() -> None:
    assert _find("argparse", "").kind == "module"
    assert _find("argparse", "").text == inspect.getdoc(argparse)
    assert _find("argparse", "ArgumentParser").kind == "class"


def test_a_package_is_named_without_its_init_file() -> None:
    assert _find("json", "").module == "json"


def test_there_is_plenty_of_text_and_none_of_it_twice() -> None:
    for texts in (docstrings(), comments()):
        assert len(texts) > 4000
        assert len({text.text for text in texts}) == len(texts)


def test_test_packages_and_installed_packages_are_left_out() -> None:
    parts = {part for text in docstrings() for part in text.module.split(".")}
    assert not parts & {"test", "tests", "idle_test", "site-packages"}
    assert {text.package for text in docstrings()} <= sys.stdlib_module_names


def test_whole_lines_of_comments_are_joined_and_strings_are_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = '''"""About nothing."""
# Above everything,
#   over two lines.
class Wheel:
    def turn(self):
        text = """
        # not a comment, however much it looks like one
        """
        # after the "quotes" and the \'s
        return text  # behind code, so not a whole line
# -----------------
'''
    monkeypatch.setattr(stdlib_text, "_sources", lambda: (("wheels.left", source),))
    assert comments.__wrapped__() == (
        StdlibText("Above everything,\nover two lines.", "wheels", "wheels.left", "comment", ""),
        StdlibText('after the "quotes" and the \'s', "wheels", "wheels.left", "comment", ""),
    )


def test_a_second_reading_gives_the_same_texts() -> None:
    assert docstrings.__wrapped__() == docstrings()


def test_a_python_without_sources_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr(stdlib_text.sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(MissingDependencyError, match="holds none"):
        stdlib_text._sources.__wrapped__()
