"""From an experiment file, and what is typed behind it, to an Experiment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from actstore.addresses import is_url
from actstore.errors import InvalidInputError
from actstore.experiment.overrides import with_overrides
from actstore.experiment.problems import Problem, refuse, schema_problems
from actstore.experiment.schema import Experiment
from actstore.yaml_files import Place, read_yaml

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def load_experiment(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Experiment:
    """The experiment of a file, with dotted overrides (`extract.dtype=float32`) in it.

    Paths in it become absolute: `~`, `$NAME` and `${NAME}` are expanded, and what is relative
    begins at the file's folder, also what an override sets. So does the report's page where the
    store is no folder that it could be beside of. Raises one InvalidInputError that tells
    all that is wrong, each with its line, its key and the keys there are.
    """
    file = Path(path).expanduser()
    document = with_overrides(read_yaml(file), overrides)
    problems = [*_made_absolute(document.values, file.absolute().parent)]
    try:
        experiment = Experiment.model_validate(document.values)
    except ValidationError as error:
        problems += schema_problems(error, document.values)
        raise refuse(str(path), document, problems) from error
    if problems:
        raise refuse(str(path), document, problems)
    return _with_report_path(experiment, file.absolute().parent)


def _with_report_path(experiment: Experiment, folder: Path) -> Experiment:
    """Jobs work in other folders, and read what was resolved here."""
    if not is_url(experiment.store) or experiment.report.out:
        return experiment
    page = str(folder / experiment.report_path.name)
    return experiment.model_copy(
        update={"report": experiment.report.model_copy(update={"out": page})}
    )


def require_files(experiment: Experiment) -> None:
    """Raise one InvalidInputError that names all files and folders of an experiment not there.

    Before anything runs, and before a job waits in a queue for hours. Cluster profiles are looked
    up by whoever needs one.
    """
    files = [experiment.suite] if _is_yaml(experiment.suite) else []
    files += [experiment.texts.file] if experiment.texts else []
    if experiment.tokens and _is_text_file(experiment.tokens.texts):
        files.append(experiment.tokens.texts)
    folders = [one.model for one in experiment.each_model if _is_folder(one.model)]
    missing = [
        *(f"There is no file {file}." for file in files if not Path(str(file)).is_file()),
        *(f"There is no folder {one}." for one in folders if not Path(one).is_dir()),
    ]
    if missing:
        raise InvalidInputError(
            f"{experiment.name} needs what is not there. {' '.join(missing)} Paths in an "
            "experiment file begin at its own folder; models of the hub are named without ./ or /."
        )


def _is_folder(text: object) -> bool:
    """Of a model: whether it is written as a folder is."""
    return isinstance(text, str) and text.startswith((".", "/", "~", "$"))


def _is_yaml(text: object) -> bool:
    """Of a suite or a profile: whether it is written as a file is."""
    return isinstance(text, str) and text.lower().endswith((".yaml", ".yml"))


def _is_text_file(text: object) -> bool:
    """Of a token sample: whether it is written as a file is."""
    return isinstance(text, str) and "." in text


def _is_path(_: object) -> bool:
    return True


_PATHS: Mapping[Place, Callable[[object], bool]] = {
    ("store",): _is_path,
    ("model",): _is_folder,
    ("models", "*", "model"): _is_folder,
    ("suite",): _is_yaml,
    ("texts", "file"): _is_path,
    ("tokens", "texts"): _is_text_file,
    ("report", "out"): _is_path,
    ("tracking", "tensorboard"): _is_path,
    ("cluster", "profile"): _is_yaml,
}
"""Which values are paths, and which of them only if they look so."""


def _made_absolute(values: dict[str, object], folder: Path) -> Iterator[Problem]:
    """Make the paths of a document absolute; yields those that cannot be."""
    for pattern, is_path in _PATHS.items():
        for place, section in _sections_at(values, pattern[:-1], ()):
            key = str(pattern[-1])
            path = section.get(key)
            if not isinstance(path, str) or not path or not is_path(path):
                continue
            try:
                section[key] = _absolute(path, folder)
            except ValueError as error:
                yield Problem((*place, key), str(error))


def _sections_at(
    value: object, pattern: Place, place: Place
) -> Iterator[tuple[Place, dict[str, object]]]:
    """The sections of a document at a place; `*` stands for every item of a list."""
    if not pattern:
        if isinstance(value, dict):
            yield place, value
    elif pattern[0] == "*" and isinstance(value, list):
        for n, one in enumerate(value):
            yield from _sections_at(one, pattern[1:], (*place, n))
    elif isinstance(value, dict) and pattern[0] in value:
        yield from _sections_at(value[pattern[0]], pattern[1:], (*place, pattern[0]))


def _absolute(path: str, folder: Path) -> str:
    """Raises ValueError for a variable or home that is not there; links are left as they are."""
    expanded = _VARIABLE.sub(_variable, path)
    if "$" in expanded:
        raise ValueError(f"{expanded!r} holds a $, which only a variable may. Choose another path")
    if "://" in expanded:
        return expanded
    try:
        return os.path.normpath(folder / Path(expanded).expanduser())
    except RuntimeError as error:
        raise ValueError(f"{expanded!r} begins with a home that is not there") from error


def _variable(match: re.Match[str]) -> str:
    name = match[1] or match[2]
    if not os.environ.get(name):
        raise ValueError(f"the environment variable {name} is not set. Run: export {name}=…")
    return os.environ[name]
