"""docs/experiment.schema.json: the experiment file as a JSON Schema, which editors complete by.

An editor with the YAML language server takes it from a file's first line:
`# yaml-language-server: $schema=…/docs/experiment.schema.json`.
"""

from __future__ import annotations

import json
from typing import Any

from actstore.experiment.schema import Experiment
from actstore.metrics.lens.fitted.fit import KINDS
from actstore.metrics.registry import all_metrics

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def experiment_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) of experiment files: keys, kinds, names there are, descriptions.

    What text may look like (layers, checkpoints) and what keys say together is checked only when a
    file is read.
    """
    schema: dict[str, Any] = _tidied(Experiment.model_json_schema())
    measured = schema["$defs"]["MetricsSection"]["properties"]
    _name_items(measured["metrics"], [metric.name for metric in all_metrics()])
    _name_items(measured["fit_lenses"], list(KINDS))
    return {"$schema": _DIALECT, "title": "actstore experiment", **schema}


def schema_file() -> str:
    """`docs/experiment.schema.json`."""
    return json.dumps(experiment_schema(), indent=1, ensure_ascii=False) + "\n"


def _tidied(value: Any, *, names: bool = False) -> Any:
    """Without the titles that repeat keys, and with descriptions on one line.

    names: the keys of `value` are those of an experiment, of which any may be called `title`.
    """
    if isinstance(value, list):
        return [_tidied(one) for one in value]
    if not isinstance(value, dict):
        return value
    tidy = {
        key: _tidied(one, names=key in ("properties", "$defs"))
        for key, one in value.items()
        if names or key != "title"
    }
    if isinstance(tidy.get("description"), str):
        tidy["description"] = " ".join(tidy["description"].split())
    return tidy


def _name_items(field: dict[str, Any], names: list[str]) -> None:
    """Let a field that takes a list, or text, offer these names for its items."""
    as_list = next(one for one in field["anyOf"] if one.get("type") == "array")
    as_list["items"]["enum"] = names
