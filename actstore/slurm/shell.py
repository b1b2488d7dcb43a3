"""Text made safe for bash and for `#SBATCH` lines."""

from __future__ import annotations

import re
from pathlib import Path

from actstore.errors import InvalidInputError

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_PLAIN = re.compile(r"[A-Za-z0-9_./:,=@%+|&*()\[\]-]+")


def expanded(text: str, of: str) -> str:
    """`text` as one word of bash in which only `$NAME`, `${NAME}` and a leading `~/` are expanded.

    of: what uses it, for the message of a job whose environment lacks a variable.
    """
    text = _with_home(text)
    words: list[str] = []
    end = 0
    for match in _VARIABLE.finditer(text):
        name = match[1] or match[2]
        words.append(_escaped(text[end : match.start()]))
        words.append(f"${{{name}:?is not set, and {_escaped(of)} uses it}}")
        end = match.end()
    return f'"{"".join([*words, _escaped(text[end:])])}"'


def folder_if_set(path: str) -> str:
    """`path` as one word of bash, in which a variable without value makes a path that cannot be."""
    path = _VARIABLE.sub(lambda match: f"${{{match[1] or match[2]}:-/dev/null}}", _with_home(path))
    return f'"{path}"'


def sbatch_value(text: str | Path) -> str:
    """A value as `#SBATCH` lines take it, in quotes if need be.

    Raises InvalidInputError for one that they cannot hold.
    """
    value = str(text)
    if not value.isprintable() or re.search(r'["\\]', value):
        raise InvalidInputError(
            f"{value!r} cannot stand in a line for sbatch: it holds a quote, a backslash or a line "
            "break. Rename it."
        )
    return value if _PLAIN.fullmatch(value) else f'"{value}"'


def _with_home(path: str) -> str:
    return re.sub(r"^~(?=/|$)", "${HOME}", path)


def _escaped(text: str) -> str:
    return re.sub(r'([\\"$`])', r"\\\1", text)
