"""What `actstore suites`, `scores` and `compare` print."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from actstore.present.terminal import lines, size, table

if TYPE_CHECKING:
    import pandas as pd

    from actstore.evaluate import SuiteDescription, SuiteRow

_MARKS = ("model", "checkpoint", "step", "pooling", "transform")
_PYTHIA_410M = {"n_layers": 25, "hidden": 1024}


def show_suites(suites: Sequence[SuiteRow]) -> None:
    """`actstore suites`."""
    table(
        ["suite", "tasks", "old", "texts", "distinct", "410m", "about"],
        [
            (
                one.name,
                one.n_tasks,
                one.n_superseded or "–",
                _count(one.n_texts),
                _count(one.n_unique),
                "?"
                if (n_bytes := one.bytes_per_checkpoint(**_PYTHIA_410M)) is None
                else size(n_bytes),
                one.description,
            )
            for one in suites
        ],
    )
    lines(
        "old: tasks of which mteb has a newer version. texts: encoded for each layer; distinct: at "
        "most, where not collected. 410m: a pooling of 25 layers of width 1024 in float16."
    )


def show_suite(suite: SuiteDescription) -> None:
    """`actstore suites NAME`."""
    table(
        ["task", "type", "score of", "texts", "distinct", "newer"],
        [
            (
                f"{one.name} ({one.part_of})" if one.part_of else one.name,
                one.type,
                ", ".join(f"{subset} {split}" for split, subset in one.averaged),
                _count(one.n_texts),
                _count(one.n_unique),
                one.superseded_by or "–",
            )
            for one in suite.tasks
        ],
        title=f"{suite.summary.name}: {suite.summary.description}",
    )


def records(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """A table's rows for JSON, which has no NaN: null."""
    found: list[dict[str, Any]] = json.loads(scores.to_json(orient="records", double_precision=15))
    return found


def show_scores(scores: pd.DataFrame) -> None:
    """A table of scores, means or differences; a dash where there is nothing.

    What is the same in all of several rows (the model, the pooling) is said above it once; steps,
    which checkpoints' names say, and the count of scored tasks where all are, are left out.
    """
    same = [name for name in _MARKS if name in scores and len(scores) > 1]
    same = [name for name in same if scores[name].nunique(dropna=False) == 1]
    said = [f"{name} {value}" for name in same if (value := scores[name].iloc[0]) != ""]
    complete = "n_scored" in scores and bool((scores["n_scored"] == scores["n_tasks"]).all())
    idle = ["step", *(["mean_of_scored", "n_scored"] if complete else [])]
    scores = scores.drop(columns=[*same, *idle], errors="ignore")
    if said:
        lines(", ".join(said))
    columns = {str(name): _column(values) for name, values in scores.items()}
    headings = [name.replace("_", " ") for name in columns]
    table(headings, list(zip(*columns.values(), strict=True)))


def _count(count: int | None) -> int | str:
    return "?" if count is None else count


def _column(values: pd.Series[Any]) -> list[object]:
    """Numbers with four decimals, or none where all are whole, as training steps are."""
    if values.dtype.kind != "f":
        return ["–" if value in ("", None) else value for value in values]
    whole = bool((values.dropna() % 1 == 0).all())
    return ["–" if math.isnan(v) else int(v) if whole else f"{v:.4f}" for v in values]
