"""What stands in the report besides the charts: coverage, provenance, how to do it again."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from actstore import __version__
from actstore.errors import UnknownNameError
from actstore.report.grids import shown_name
from actstore.report.html.findings import ARM, Findings, States, Suite
from actstore.report.tables import metric_availability
from actstore.store import Store
from actstore.store.arrays.zarr_metadata import (
    read_attributes,
)
from actstore.store.records.runs import run_events

_SOME = 6
_DIGEST = 16


@dataclass(frozen=True)
class Table:
    """A table of the page, all cells as they are shown."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False
    """Whether it is opened only when asked for."""


def coverage(findings: Findings, store: Store) -> list[Table]:
    """What is scored of what the suites count, what is missing where, which metrics there are."""
    pairs = [(suite, one) for suite in findings.suites for one in findings.states if one.pooling]
    counted = tuple(_counted(suite, one) for suite, one in pairs)
    missing = tuple(row for suite, one in pairs for row in _missing(suite, one))
    places = ("suite", "model", "states")
    tables = [
        Table("Scores of each suite", (*places, "scored", "of", "share"), counted),
        Table(
            "Missing scores", (*places, "task", "missing", "of", "at"), missing, len(missing) > 8
        ),
        Table("Metrics", _METRIC_COLUMNS, tuple(_metrics(findings)), folded=True),
        _failures(store, {one.model for one in findings.states}),
    ]
    return [table for table in tables if table.rows]


_METRIC_COLUMNS = ("model", "metric", "source", "values", "undefined", "missing", "reasons")


def _place(suite: Suite, one: States) -> tuple[str, str, str]:
    return suite.label, shown_name(one.model), states_label(one)


def _scores_of(suite: Suite, one: States) -> pd.DataFrame:
    scores = suite.scores.dropna(subset="score")
    of_states = [scores[name] == value for name, value in zip(ARM[:3], one.key, strict=True)]
    return scores[of_states[0] & of_states[1] & of_states[2]]


def _counted(suite: Suite, one: States) -> tuple[str, ...]:
    n, expected = len(_scores_of(suite, one)), len(suite.tasks) * _n_arms(one)
    return (*_place(suite, one), f"{n:,}", f"{expected:,}", f"{n / expected:.1%}")


def _missing(suite: Suite, one: States) -> Iterator[tuple[str, ...]]:
    """Every task that is not scored at all arms."""
    scores = _scores_of(suite, one)
    for task in suite.tasks:
        there = scores.loc[scores["task"] == task.name, ["checkpoint", "layer"]]
        n = _n_arms(one) - len(there)
        if n:
            whole = there["checkpoint"].value_counts()
            lacking = [c for c in one.checkpoints if whole.get(c, 0) < len(one.layers)]
            yield *_place(suite, one), task.name, f"{n:,}", f"{_n_arms(one):,}", _some(lacking)


def _n_arms(one: States) -> int:
    return len(one.checkpoints) * len(one.layers)


def _metrics(findings: Findings) -> Iterator[tuple[str, ...]]:
    """A line a metric and source, over all checkpoints."""
    table = metric_availability(findings.metrics, findings.numbers)
    for key, part in table.groupby(["model", "metric", "source"]):
        model, metric, source = map(str, key)
        counts = [f"{part[name].sum():,}" for name in ("n_values", "n_nan", "n_missing")]
        reasons = [*part.loc[part["reasons"] != "", "reasons"].unique()]
        yield shown_name(model), metric, source, *counts, _some(reasons)


def _failures(store: Store, models: set[str]) -> Table:
    failures = store.evaluation_failures()
    failures = failures[failures["model"].isin(models)]
    columns = ("model", "checkpoint", "layer", "task", "error")
    failures = failures.assign(model=failures["model"].map(shown_name))
    rows = [tuple(map(str, row)) for row in failures[[*columns]].itertuples(index=False)]
    return Table("Evaluations that failed", columns, tuple(rows), folded=True)


def provenance(store: Store, findings: Findings, now: datetime.datetime) -> list[Table]:
    """Where the numbers come from: store, models and weights, data, versions, commands."""
    models = list(dict.fromkeys(one.model for one in findings.states))
    attributes = read_attributes(store.storage, "")["actstore"]
    about = [
        ("store", _place_name(store.url)),
        ("store created", f"{attributes['created_at']} by {attributes['created_by']}"),
        ("store format", str(attributes["format_version"])),
        ("report written", f"{now.isoformat(timespec='seconds')} by actstore {__version__}"),
    ]
    checkpoints = tuple(row for model in models for row in _checkpoints(store, model))
    tables = [
        Table("Store and report", ("what", "value"), tuple(about)),
        Table("Checkpoints", _CHECKPOINT_COLUMNS, checkpoints, len(checkpoints) > 8),
        Table("Tasks", _TASK_COLUMNS, tuple(_tasks(store, findings.suites)), folded=True),
        Table("Scored with", ("what", "value"), tuple(_environments(store))),
        Table("Commands that were run", ("first", "runs", "command"), _commands(store), True),
    ]
    return [table for table in tables if table.rows]


_CHECKPOINT_COLUMNS = (
    *("model", "checkpoint", "commit", "weights", "states", "cut at", "extracted with", "on"),
)
_TASK_COLUMNS = ("task", "type", "dataset", "revision", "split and subset", "suites")


def _checkpoints(store: Store, model: str) -> Iterator[tuple[str, ...]]:
    try:
        names = store.checkpoints(model)
    except UnknownNameError:
        return
    for group in store.checkpoint_groups(model, names):
        spec, made = group.spec, group.spec.provenance
        versions = made.get("versions")
        states = f"{len(spec.layers)} x {spec.hidden_size} {spec.dtype}, {spec.precision}"
        yield (
            *(shown_name(model), spec.checkpoint, str(made.get("commit") or "–")),
            *(spec.weights_digest[:_DIGEST], states, f"{spec.max_tokens} tokens"),
            *(_versions(versions if isinstance(versions, dict) else {}), str(made.get("device"))),
        )


def _tasks(store: Store, suites: Sequence[Suite]) -> Iterator[tuple[str, ...]]:
    counted = {task for suite in suites for task in suite.tasks}
    collected = {*store.tasks()}
    for task in sorted(counted, key=lambda task: task.name):
        data: Mapping[str, Any] = (
            store.task(task.name).manifest.get("dataset", {}) if task.name in collected else {}
        )
        names = [suite.label for suite in suites if task in suite.tasks]
        entries = [f"{split} {subset}" for split, subset in task.averaged]
        where = str(data.get("path", "–")), str(data.get("revision", "–"))
        yield task.name, task.task_type, *where, _some(entries), ", ".join(names)


def _environments(store: Store) -> Iterator[tuple[str, str]]:
    """What scores were computed in, a line each; they differ in the last bits."""
    versions = sorted({str(version) for version in store.scores()["mteb_version"]})
    if versions:
        yield "mteb", ", ".join(versions)
    for place in store.score_environments().values():
        known = _versions(place.get("versions", {}))
        yield f"{place.get('machine')}, threads: {place.get('threads')}", known


def _versions(versions: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _commands(store: Store) -> tuple[tuple[str, ...], ...]:
    """The commands of the run log, each once; folders are named by their last part."""
    counts: dict[str, list[float]] = {}
    for event in run_events(store.storage):
        if event["event"] == "started":
            counts.setdefault(shown_command(event["command"]), []).append(event["at"])
    return tuple((_day(min(at)), str(len(at)), command) for command, at in counts.items())


def shown_command(words: Sequence[str]) -> str:
    """A command as it could be typed, without the machine's folders in it."""
    if words and words[0].endswith("__main__.py"):
        words = ["actstore", *words[1:]]
    shown = [_place_name(word) if word.startswith(("/", "~")) else word for word in words]
    return " ".join(map(shlex.quote, shown))


def _place_name(url: str) -> str:
    """A folder's own name; a URL as it is."""
    return url if "://" in url else PurePosixPath(url).name


def _day(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def states_label(one: States) -> str:
    """Pooling and transform: `mean_normed, l2`."""
    return ", ".join(part for part in (one.pooling, one.transform) if part) or "no scores"


def reproduction(store: Store, findings: Findings) -> list[str]:
    """Commands that make the same store, scores, metrics and report."""
    name = shlex.quote(_place_name(store.url))
    suites = [suite for suite in findings.suites if suite.name in store.suites()]
    lines = [f"actstore collect {name} --suite {shlex.quote(str(one.name))}" for one in suites]
    for model in dict.fromkeys(one.model for one in findings.states):
        mine = [one for one in findings.states if one.model == model]
        lines += _commands_of(f"{name} --model {shlex.quote(model)}", mine, findings)
    return [*lines, f"actstore report {name} --out report.html"]


def _commands_of(who: str, mine: Sequence[States], findings: Findings) -> Iterator[str]:
    """Of one model. who: the store and the model, as options."""
    chosen = _quoted(mine[0].checkpoints)
    pooling = f" --pooling {_quoted(one.pooling for one in mine)}" if mine[0].pooling else ""
    transform = f" --transform {_quoted(one.transform or 'none' for one in mine)}"
    yield f"actstore extract {who} --checkpoints {chosen}{pooling}"
    for suite in findings.suites if pooling else ():
        tasks = [suite.name] if suite.name else [task.name for task in suite.tasks]
        yield f"actstore eval {who} --suite {_quoted(tasks)}{pooling}{transform}"
    names = findings.metrics.loc[findings.metrics["model"] == mine[0].model, "metric"]
    if len(names):
        yield f"actstore metrics {who} --metric {_quoted(sorted(names))}"


def _quoted(names: Iterable[str]) -> str:
    """Names for a shell, each once, comma-separated."""
    return shlex.quote(",".join(dict.fromkeys(names)))


def experiments(store: Store) -> list[tuple[str, str]]:
    """The experiments that filled the store: a line about each, and its file."""
    return [
        (f"{one.name}, first run {_day(one.at)} (digest {one.digest[:_DIGEST]})", one.yaml)
        for one in store.experiments()
    ]


def _some(names: Sequence[str]) -> str:
    more = f", … ({len(names) - _SOME} more)" if len(names) > _SOME else ""
    return ", ".join(names[:_SOME]) + more
