"""Text that every Python installation carries: the standard library's docstrings and comments.

The demo trains on it and builds its tasks from it, so that it needs no download. Everything is
sorted by file and position: the same Python version gives the same texts in the same order.
"""

from __future__ import annotations

import ast
import functools
import re
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from actstore.errors import MissingDependencyError

_NO_PROSE = frozenset({"test", "tests", "idle_test", "encodings", "pydoc_data", "__phello__"})
"""Test packages, character tables and the manual's generated pages."""

_FEWEST_LETTERS = 12
"""Shorter ones (`XXX`, `-----`, `Getter.`) say nothing about what they belong to."""

_LEXEME = re.compile(
    r'"""(?:\\.|[^\\])*?"""'
    r"|'''(?:\\.|[^\\])*?'''"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'(?:\\.|[^'\\\n])*'"
    r"|#[^\n]*",
    re.DOTALL,
)
"""Strings and comments; strings only so that a # inside them is not taken for a comment."""

_Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class StdlibText:
    """One docstring or block of comments, and where it stands."""

    text: str
    package: str
    """Top-level module or package: `email`."""

    module: str
    """Dotted name of the module: `email.mime.text`."""

    kind: str
    """What it describes: `module`, `class` or `function`; `comment` for a block of comments."""

    name: str
    """Qualified, of the class or function (`MIMEText.__init__`); else empty."""


@functools.cache
def docstrings() -> tuple[StdlibText, ...]:
    """Every docstring of the standard library, without repeats, as `inspect.cleandoc` shows it.

    Raises MissingDependencyError if this Python keeps no sources of its standard library.
    """
    return _unique(_docstrings_of(source, module) for module, source in _sources())


@functools.cache
def comments() -> tuple[StdlibText, ...]:
    """Every block of whole-line comments of the standard library, without repeats.

    Lines are joined as written, without their `#`.
    Raises MissingDependencyError if this Python keeps no sources of its standard library.
    """
    return _unique(_comments_of(source, module) for module, source in _sources())


@functools.cache
def _sources() -> tuple[tuple[str, str], ...]:
    """(dotted module name, source text) of every module, sorted by file."""
    library = Path(sysconfig.get_path("stdlib"))
    files = sorted(file for file in library.rglob("*.py") if _has_prose(file.relative_to(library)))
    if not files:
        raise MissingDependencyError(
            f"The demo reads the standard library's own sources, and {library} holds none. "
            "Run it with a Python that has them (python.org, pyenv, conda, a Linux package)."
        )
    return tuple((_module_of(file, library), file.read_text("utf-8")) for file in files)


def _has_prose(file: Path) -> bool:
    parts = (*file.parent.parts, file.stem)
    return all(part.isidentifier() for part in parts) and not _NO_PROSE.intersection(parts)


def _module_of(file: Path, library: Path) -> str:
    return ".".join(file.relative_to(library).with_suffix("").parts).removesuffix(".__init__")


def _docstrings_of(source: str, module: str) -> Iterator[StdlibText]:
    for name, node in _definitions(ast.parse(source)):
        if text := ast.get_docstring(node):
            yield StdlibText(text, module.partition(".")[0], module, _kind(node), name)


def _definitions(node: ast.AST, around: str = "") -> Iterator[tuple[str, _Definition]]:
    """(qualified name, node) of `node`, if it can hold a docstring, and of all inside it."""
    name = around
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        name = f"{around}.{node.name}".lstrip(".")
    if isinstance(node, _Definition):
        yield name, node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield from _definitions(child, name)


def _kind(node: _Definition) -> str:
    if isinstance(node, ast.Module):
        return "module"
    return "class" if isinstance(node, ast.ClassDef) else "function"


def _comments_of(source: str, module: str) -> Iterator[StdlibText]:
    for text in _comment_blocks(source):
        yield StdlibText(text, module.partition(".")[0], module, "comment", "")


def _comment_blocks(source: str) -> Iterator[str]:
    """Each run of whole-line comments, as one text."""
    lines, last = list[str](), 0
    for number, text in _whole_line_comments(source):
        if lines and number != last + 1:
            yield "\n".join(lines)
            lines = []
        lines.append(text)
        last = number
    if lines:
        yield "\n".join(lines)


def _whole_line_comments(source: str) -> Iterator[tuple[int, str]]:
    """(line number, text without its #) of every comment with nothing before it."""
    number, counted = 1, 0
    for match in _LEXEME.finditer(source):
        start = match.start()
        if source[start] != "#" or source[source.rfind("\n", 0, start) + 1 : start].strip():
            continue
        number += source.count("\n", counted, start)
        counted = start
        yield number, match[0].lstrip("#").strip()


def _unique(found: Iterable[Iterable[StdlibText]]) -> tuple[StdlibText, ...]:
    first: dict[str, StdlibText] = {}
    for texts in found:
        for text in texts:
            if sum(map(str.isalpha, text.text)) >= _FEWEST_LETTERS:
                first.setdefault(text.text, text)
    return tuple(first.values())
