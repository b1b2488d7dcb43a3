"""YAML that people write: read as YAML 1.2 does, with the line that each value stands in.

PyYAML reads YAML 1.1, where `24:00:00` is the number 86400, `2:8` is 128, `no` is false and `1e-3`
is text. Here a number is a number, `true` and `false` are the truth values, `null` and `~` are
nothing, and everything else is text. A key that is there twice is an error. No tag makes an object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import yaml

from actstore.errors import InvalidInputError

Place = tuple[str | int, ...]
"""Where a value is: the keys, and the numbers of list items from 0, that lead to it."""

_MOST_BYTES = 16 << 20
_MOST_DEPTH = 64
_MOST_VALUES = 100_000
"""An experiment has some hundreds. A few aliases of aliases can stand for any number."""
_TAG = "tag:yaml.org,2002:"
_SCALARS: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "null": (r"~|null|Null|NULL|", lambda _: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    "int": (r"[-+]?[0-9]+", int),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        lambda text: float(re.sub(r"\.(?=[inIN])", "", text)),
    ),
    "str": (r"(?!)", str),
}
"""YAML 1.2.2, https://yaml.org/spec/1.2.2/#1032-tag-resolution, without octal and hexadecimal."""
_QUOTE = 'Text that begins with * or @, or ends in a colon, goes in quotes: "-4:".'


@dataclass(frozen=True)
class YamlFile:
    """What a file holds: mappings (text -> value), lists, text, numbers, truth values, None."""

    value: object
    lines: Mapping[Place, int]
    """From 1: where each key and each list item stands."""


def read_yaml(path: Path) -> YamlFile:
    """The one document of a file.

    Raises InvalidInputError, with the line, for a file that is not there, no YAML, or more than one
    document, and for a key that is there twice.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InvalidInputError(f"{path} is too long: {path.stat().st_size:,} bytes.")
        text = path.read_text("utf-8")
    except FileNotFoundError as error:
        raise InvalidInputError(f"There is no file {path}. Check the path.") from error
    except IsADirectoryError as error:
        raise InvalidInputError(f"{path} is a folder. Name a .yaml file.") from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} is no text in UTF-8. Save it as UTF-8.") from error
    lines: dict[Place, int] = {}
    node = _compose(text, str(path))
    value = None if node is None else _Reading(str(path), lines).value(node, (), ())
    return YamlFile(value, lines)


def read_value(text: str, what: str) -> object:
    """A value that was typed on one line: `3`, `[a, b]`, `{a: 1}`; else the text itself.

    what: what it was typed for, for errors. Raises InvalidInputError for what cannot be read.
    """
    node = _compose(text, what)
    if node is None:
        return None
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        return text.strip()  # `-4:` is a mapping to YAML, and a layer to whoever types it
    return _Reading(what, {}).value(node, (), ())


def write_yaml(value: object) -> str:
    """Containers, text, numbers, truth values and None as YAML that `read_yaml` reads the same.

    Text that YAML 1.1 or 1.2 would take for something else is quoted: other programs read it too.
    """
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain values, instead of YAML 1.1's."""


class _Dumper(yaml.SafeDumper):
    """Knows the plain values of both versions."""


_Loader.yaml_implicit_resolvers = {}
for _name, (_pattern, _) in _SCALARS.items():
    for _side in (_Loader, _Dumper):
        _side.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"({_pattern})$"), None)


def _compose(text: str, what: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, _Loader)  # nodes only: nothing is constructed
    except yaml.YAMLError as error:
        raise InvalidInputError(f"{what}{_said(error)}. {_QUOTE}") from error
    except (RecursionError, ValueError) as error:  # ValueError: \U00110000 is no character
        why = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise InvalidInputError(f"{what} is no YAML: {why}. {_QUOTE}") from error


def _said(error: yaml.YAMLError) -> str:
    """Where the reader stopped, and why."""
    mark = getattr(error, "problem_mark", None)
    why = getattr(error, "problem", None) or " ".join(str(error).split())
    return f" is no YAML: {why}" if mark is None else f", line {mark.line + 1} is no YAML: {why}"


@dataclass(frozen=True)
class _Reading:
    """Makes values of nodes, and notes their lines."""

    what: str
    lines: dict[Place, int]
    made: list[None] = field(default_factory=list)
    """One for each value that was made."""

    def value(self, node: yaml.Node, place: Place, above: tuple[yaml.Node, ...]) -> object:
        if len(place) > _MOST_DEPTH:
            self._refuse(node, f"more than {_MOST_DEPTH} values are inside one another")
        self.made.append(None)
        if len(self.made) > _MOST_VALUES:
            self._refuse(node, f"its aliases stand for more than {_MOST_VALUES:,} values")
        if node in above:
            self._refuse(node, f"the alias in {_dotted(place)} is inside what it stands for")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if node.tag not in (f"{_TAG}seq", f"{_TAG}map"):
            self._refuse(node, f"{node.tag} is not read here: leave the tag out")
        inside = (*above, node)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(one, (*place, n), inside) for n, one in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            raise TypeError(f"no YAML node: {node!r}")
        return self._mapping(node, place, inside)

    def _item(self, node: yaml.Node, place: Place, above: tuple[yaml.Node, ...]) -> object:
        self.lines.setdefault(place, node.start_mark.line + 1)
        return self.value(node, place, above)

    def _mapping(
        self, node: yaml.MappingNode, place: Place, above: tuple[yaml.Node, ...]
    ) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._refuse(key, "a key must be a word")
            if key.value in found:
                self._refuse(key, f"the key {key.value!r} is there twice")
            self.lines.setdefault((*place, key.value), key.start_mark.line + 1)
            found[key.value] = self.value(value, (*place, key.value), above)
        return found

    def _scalar(self, node: yaml.ScalarNode) -> object:
        name = node.tag.removeprefix(_TAG)
        if name not in _SCALARS:
            self._refuse(node, f"{node.tag} is not read here: leave the tag out")
        pattern, made = _SCALARS[name]
        if name != "str" and not re.fullmatch(pattern, node.value):
            self._refuse(node, f"{node.value!r} is no {name}")
        try:
            return made(node.value)
        except ValueError:  # a number of thousands of digits
            self._refuse(node, f"{node.value[:20]}… is no {name} that fits anywhere")

    def _refuse(self, node: yaml.Node, why: str) -> NoReturn:
        raise InvalidInputError(f"{self.what}, line {node.start_mark.line + 1}: {why}. Mend it.")


def _dotted(place: Place) -> str:
    return ".".join(map(str, place)) or "the document"
