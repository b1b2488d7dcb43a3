"""What is typed behind an experiment file: `extract.dtype=float32 stages=[extract,eval]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actstore.errors import InvalidInputError
from actstore.yaml_files import Place, YamlFile, read_value

_WRITE = "Write KEY=VALUE, for instance extract.dtype=float32 or stages=[extract,eval]"


@dataclass(frozen=True)
class Document:
    """What an experiment is made of, and where each part of it was written."""

    file: YamlFile
    values: dict[str, object]
    """The file's, with the overrides in it."""
    overridden: dict[Place, str]
    """The override, as typed, by the place it sets."""

    def where(self, place: Place) -> str:
        """`line 7`, or the override; of the nearest part around it that was written, or in it."""
        around = [place[:end] for end in range(len(place), 0, -1)]
        if typed := next((self.overridden[one] for one in around if one in self.overridden), ""):
            return typed
        if line := self.line(place):
            return f"line {line}"
        inside = [typed for one, typed in self.overridden.items() if one[: len(place)] == place]
        return inside[0] if inside else ""  # which began this section

    def line(self, place: Place) -> int:
        """Of the file, where the nearest part around a place stands; 0 if none does."""
        around = (place[:end] for end in range(len(place), 0, -1))
        return next((self.file.lines[one] for one in around if one in self.file.lines), 0)


def with_overrides(file: YamlFile, overrides: Sequence[str]) -> Document:
    """A file's values, with those of dotted overrides in their place; later ones count.

    A section that is not there is begun, an item of a list goes by its number: `models.0.layers=3`.
    Whether there are such keys is not looked at here. Raises InvalidInputError for what cannot be
    read and for a place inside a value that holds nothing.
    """
    values = _copied(file.value)
    if not isinstance(values, dict):
        raise InvalidInputError("An experiment holds keys and values. Begin with: name: NAME")
    document = Document(file, values, {})
    for override in overrides:
        place, value = _read(override)
        document.overridden[_put(document.values, place, value, override)] = override
    return document


def _read(override: str) -> tuple[list[str], object]:
    key, found, value = override.partition("=")
    place = key.strip().split(".")
    if not found or not all(place):
        raise InvalidInputError(f"{override!r} overrides nothing. {_WRITE}.")
    return place, read_value(value, override)


def _put(values: dict[str, object], keys: Sequence[str], value: object, override: str) -> Place:
    """Set a value; returns where."""
    inside: object = values
    place: Place = ()
    for n, key in enumerate(keys):
        step = _step(inside, key, f"{override}: {'.'.join(keys[:n])}")
        place = (*place, step)
        if n == len(keys) - 1:
            inside[step] = value  # type: ignore[index]
        else:
            inside = _entered(inside, step)
    return place


def _step(inside: object, key: str, what: str) -> str | int:
    """The key of a section, or the number of an item. Raises InvalidInputError for neither."""
    if isinstance(inside, dict):
        return key
    if not isinstance(inside, list):
        raise InvalidInputError(f"{what} is {inside!r}, which has no {key!r} in it. {_WRITE}.")
    if not key.isdecimal() or int(key) >= len(inside):
        raise InvalidInputError(f"{what} is a list: name an item from 0 to {len(inside) - 1}.")
    return int(key)


def _entered(inside: object, step: str | int) -> object:
    """What is there; a new section where there is nothing."""
    found = inside.get(step) if isinstance(inside, dict) else inside[step]  # type: ignore[index]
    if found is None:
        found = inside[step] = {}  # type: ignore[index]
    return found


def _copied(value: object) -> object:
    """Of containers: what an alias stands for is set once, not wherever it is meant."""
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list) else value
