"""Suites that a user writes down: YAML files.

    name: my-suite
    description: What it is for
    tasks:
      - STS12
      - MassiveIntentClassification[en,de]
      - name: AmazonCounterfactualClassification
        splits: [test]
        subsets: [en, en-ext]
        average: [[test, en]]

Without `splits` and `subsets` a task is run on all that mteb runs; without `average` its score is
the mean over all of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.evaluate.suites import catalogue
from actstore.evaluate.suites.selection import Suite, TaskSelection
from actstore.evaluate.suites.shipped import SUITES
from actstore.evaluate.suites.task_lists import select_task
from actstore.refs import look_up

_ENDINGS = (".yaml", ".yml")
_SUITE_KEYS = ("name", "description", "tasks")
_TASK_KEYS = ("name", "splits", "subsets", "average")
_LONGEST_NAME = 120


def is_suite_file(suite: str) -> bool:
    """Whether a suite is typed as the path of a file."""
    return suite.lower().endswith(_ENDINGS)


def read_suite_file(path: Path) -> Suite:
    """The suite a file defines.

    Raises InvalidInputError for a file that cannot be read, a value of the wrong kind, a name that
    is taken and a task that is there twice; UnknownNameError for a key, task, split or subset there
    is not. All of them say where in the file.
    """
    content = _content(path)
    _require_keys(content, _SUITE_KEYS, str(path))
    name = _suite_name(content.get("name"), path)
    description = _text(content.get("description", ""), f"{path}, description")
    entries = _list(content.get("tasks"), f"{path}, tasks")
    tasks = [task for n, one in enumerate(entries, 1) for task in _entry(one, f"{path}, task {n}")]
    _require_each_once([task.name for task in tasks], f"{path}, tasks")
    return Suite(name, description, tuple(tasks))


def _content(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise InvalidInputError(
            f"There is no suite file {path}. A suite that was collected is in its store: give its "
            "name. List the others: actstore suites."
        )
    try:
        content = yaml.load(path.read_text("utf-8"), _StrictLoader)  # a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"{path} is no YAML file: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(content, dict):
        raise InvalidInputError(f"{path} must be a mapping with the keys {', '.join(_SUITE_KEYS)}.")
    return content


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {twice[0]!r} is there twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def _suite_name(value: object, path: Path) -> str:
    """A name that is free, and that a file can have in the store."""
    name = _text(value, f"{path}, name")
    if name in SUITES or name in catalogue.benchmarks() or name in catalogue.tasks():
        raise InvalidInputError(
            f"{path}, name: there is a suite or task {name!r} already. Choose another name, for "
            f"instance my-{name}."
        )
    unusable = not name.strip() or name != name.strip() or not name.isprintable()
    if unusable or len(name) > _LONGEST_NAME or is_suite_file(name) or {*name} & {*",[]"}:
        raise InvalidInputError(
            f"{path}, name: {name!r} cannot be a suite's name. Write up to {_LONGEST_NAME} "
            "characters in one line, without commas and brackets, which lists of tasks have, and "
            "without a file's ending."
        )
    return name


def _entry(entry: object, where: str) -> list[TaskSelection]:
    """The tasks of one entry: several if it names an aggregate."""
    if not isinstance(entry, dict):
        name = _text(entry, where)
        with _located(where):
            return select_task(name)
    _require_keys(entry, _TASK_KEYS, where)
    name = _text(entry.get("name"), f"{where}, name")
    return [_detailed(name, entry, f"{where} ({name})")]


def _detailed(name: str, entry: Mapping[str, Any], where: str) -> TaskSelection:
    asked = {key: _texts(entry[key], f"{where}, {key}") for key in _TASK_KEYS[1:3] if key in entry}
    with _located(where):
        task = catalogue.new_task(name, asked.get("splits"), asked.get("subsets"))
    splits = asked.get("splits", (*task.eval_splits,))
    subsets = asked.get("subsets", (*task.hf_subsets,))
    selection = TaskSelection.of_all(name, splits, subsets)
    if "average" not in entry:
        return selection
    pairs = _list(entry["average"], f"{where}, average")
    averaged = tuple(_averaged(pair, selection, f"{where}, average") for pair in pairs)
    _require_each_once([f"[{split}, {subset}]" for split, subset in averaged], f"{where}, average")
    return replace(selection, averaged=averaged)


def _averaged(pair: object, task: TaskSelection, where: str) -> tuple[str, str]:
    entry = _texts(pair, where)
    if len(entry) != 2:
        raise InvalidInputError(
            f"{where} must hold pairs of a split and a subset, for instance "
            f"[[{task.splits[0]}, {task.subsets[0]}]], not {pair!r}."
        )
    with _located(where):
        return (
            look_up("split of this task", entry[0], task.splits, "Add it to `splits`."),
            look_up("subset of this task", entry[1], task.subsets, "Add it to `subsets`."),
        )


def _require_keys(mapping: Mapping[Any, Any], known: Sequence[str], where: str) -> None:
    for key in mapping:
        with _located(where):
            look_up("key", str(key), known, f"The keys are {', '.join(known)}.")


def _require_each_once(names: Sequence[str], where: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInputError(f"{where}: {', '.join(twice)} is there twice. Name it once.")


def _texts(value: object, where: str) -> tuple[str, ...]:
    texts = [_text(one, where) for one in _list(value, where)]
    _require_each_once(texts, where)
    return tuple(texts)


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        found = "nothing" if value is None else repr(value)
        raise InvalidInputError(f"{where} must be a list of one or more, not {found}.")
    return value


def _text(value: object, where: str) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        raise InvalidInputError(f"{where} is missing. Add it.")
    raise InvalidInputError(
        f"{where} must be text, not {value!r}. YAML reads words like no and on as truth values: "
        'put them in quotes, "no".'
    )


@contextmanager
def _located(where: str) -> Iterator[None]:
    """Says in an error where in the file it is."""
    try:
        yield
    except (InvalidInputError, UnknownNameError) as error:
        raise type(error)(f"{where}: {error}") from error
