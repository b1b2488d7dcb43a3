"""What is wrong with an experiment file, all of it, in words that say what to type."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from actstore.errors import InvalidInputError
from actstore.experiment.overrides import Document
from actstore.experiment.schema import Experiment, clashes
from actstore.yaml_files import Place

_KINDS = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "model_type": "must be a section of keys and values",
    "dict_type": "must be a section of keys and values",
    "too_short": "must name at least one",
    "string_too_short": "must not be empty",
    "greater_than_equal": "must be {ge} or more",
    "string_pattern_mismatch": "must be up to 80 letters, digits, '.', '_' and '-', and begin "
    "with a letter or digit",
}
_IN_QUOTES = ('must be text: put it in quotes, "{value}"', (bool, int, float))


@dataclass(frozen=True)
class Problem:
    """One thing to mend."""

    place: Place
    """Where; empty for the file as a whole, which the text then says."""
    text: str

    def told(self, document: Document) -> str:
        """A line about it: where it was written, which key, what to do."""
        where = document.where(self.place)
        key = ".".join(map(str, self.place))
        if not key:
            return f"{self.text}."
        return f"{key}{f' ({where})' if where else ''}: {self.text}."


def refuse(what: str, document: Document, problems: Sequence[Problem]) -> InvalidInputError:
    """The one error that tells all problems. what: the file."""
    in_order = sorted(problems, key=lambda one: document.line(one.place))
    told = "".join(f"\n- {problem.told(document)}" for problem in in_order)
    there_is = f"there are {len(problems)} things" if len(problems) > 1 else "there is one thing"
    return InvalidInputError(f"{what} cannot be used; {there_is} to mend:{told}")


def schema_problems(error: ValidationError, values: Mapping[str, object]) -> Iterator[Problem]:
    """What the schema refuses, and what keys say together, which it only sees of a valid file."""
    of_the_whole = False
    for one in error.errors(include_url=False):
        of_the_whole |= one["loc"] == ()
        yield from _problems(dict(one))
    if not of_the_whole:
        yield from (Problem((), text) for text in clashes(values))


def _problems(one: dict[str, Any]) -> Iterator[Problem]:
    place: Place = tuple(part for part in one["loc"] if part != "[key]")
    kind, value, context = one["type"], one["input"], one.get("ctx", {})
    if kind == "extra_forbidden":
        yield Problem(place, _unknown_key(place))
    elif kind == "missing":
        yield Problem(place, "is missing. Add it")
    elif kind == "literal_error":
        yield Problem(place, _unknown_word(value, re.findall(r"'([^']*)'", context["expected"])))
    elif kind == "value_error":
        for line in str(context["error"]).splitlines():
            yield Problem(place, line.rstrip("."))
    elif kind == "string_type" and isinstance(value, _IN_QUOTES[1]):
        yield Problem(place, _IN_QUOTES[0].format(value=_as_yaml(value)))
    else:
        must = _KINDS.get(kind, one["msg"]).format(**context)
        yield Problem(place, f"{must}, not {_as_yaml(value)}")


def _unknown_key(place: Place) -> str:
    section = ".".join(map(str, place[:-1])) or "an experiment"
    key, keys = str(place[-1]), [*_model_at(place[:-1]).model_fields]
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
    elsewhere = [f"{name}.{key}" for name in _sections() if key in _model_at((name,)).model_fields]
    meant = [*near, *elsewhere]
    hint = f" Did you mean {' or '.join(meant)}?" if meant else ""
    return f"there is no such key.{hint} The keys of {section}: {', '.join(keys)}"


def _unknown_word(value: object, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(value), known, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"cannot be {_as_yaml(value)}.{hint} There are: {', '.join(known)}"


def _sections() -> list[str]:
    """Keys of an experiment that hold one section."""
    fields = Experiment.model_fields.items()
    return [name for name, one in fields if _model_in(one.annotation) and name != "models"]


def _model_at(place: Place) -> type[BaseModel]:
    """The class of the section at a place."""
    model: type[BaseModel] = Experiment
    for part in place:
        field = model.model_fields.get(str(part))
        if field is not None:  # else the number of a list's item, or the name of a stage
            model = _model_in(field.annotation) or model
    return model


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _as_yaml(value: object) -> str:
    """As it stands in the file."""
    words = {None: "nothing", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    return repr(value)
