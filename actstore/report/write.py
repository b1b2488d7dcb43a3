"""From a store to a report: figures, tables and the page that holds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from actstore.errors import InvalidInputError
from actstore.progress import progress
from actstore.refs import look_up, model_key
from actstore.report.figures import heatmap, layer_curves
from actstore.report.grids import (
    Grid,
    best_layers,
    best_per_task,
    mean_grid,
    metric_grids,
    shown_name,
    task_grids,
    task_scores,
)
from actstore.report.page import Picture, Section, page
from actstore.store import Store


def write_report(store: Store, out: Path, model: str | None = None) -> list[Path]:
    """Write the report of one model's scores and metrics, or of all models', and say what where.

    out: the page's path (`report.html`), or a folder for it. The page needs nothing beside it; its
    pictures and tables also stand next to it in `<name>_files/`: heatmaps over checkpoint and layer
    (the mean over tasks, each task, each metric), curves over layers, scores.csv, metrics.csv and
    best_layers-<pooling>.csv. Files of an earlier report are replaced.
    Raises UnknownNameError for a model, and InvalidInputError if there is nothing to report.
    """
    scores, metrics = store.scores(), store.metric_table()
    models = _models(store, scores, metrics, model)
    path = out if out.suffix in (".html", ".htm") else out / "report.html"
    files = path.with_name(f"{path.stem}_files")
    files.mkdir(parents=True, exist_ok=True)
    sections: list[Section] = []
    with progress("Drawing", _n_pictures(scores, metrics, models), "figures") as advance:
        writer = _Writer(files, several=len(models) > 1, advance=advance)
        for name in models:
            sections += writer.sections(name, _of(scores, name), _of(metrics, name))
    writer.table("scores", scores[scores["model"].isin(models)])
    shown = metrics[metrics["model"].isin(models)]
    writer.table("metrics", shown.drop(columns=["parameters", "values", "inputs"]))
    title = f"{', '.join(map(shown_name, models))}: scores and metrics by layer"
    path.write_text(page(title, _INTRO, sections), encoding="utf-8")
    return [path, *writer.written]


_INTRO = (
    "Layer 0 is the embedding output, layer i the output of block i. Checkpoints stand in training "
    "order. A bold score or a ring marks a checkpoint's best layer; hatched cells have no value."
)


def _models(
    store: Store, scores: pd.DataFrame, metrics: pd.DataFrame, model: str | None
) -> list[str]:
    known = sorted({*scores["model"], *metrics["model"]})
    if not known:
        raise InvalidInputError(
            f"{store.url} has neither scores nor metrics to report. Run first: actstore eval "
            f"{store.url} --suite … or: actstore metrics {store.url}"
        )
    if model is None:
        return known
    listing = f"List: actstore info {store.url}"
    return [look_up("model with scores or metrics", model, known, listing)]


def _n_pictures(scores: pd.DataFrame, metrics: pd.DataFrame, models: list[str]) -> int:
    """A heatmap a task, one of their mean if there are several, its curves; two a metric."""
    of_models = scores[scores["model"].isin(models)], metrics[metrics["model"].isin(models)]
    n_tasks = of_models[0].groupby(["model", "pooling"])["task"].nunique()
    n_metrics = of_models[1].groupby(["model", "metric", "source"]).ngroups
    return int((n_tasks + (n_tasks > 1) + 1).sum()) + 2 * n_metrics


def _of(table: pd.DataFrame, model: str) -> pd.DataFrame:
    return table[table["model"] == model]


@dataclass
class _Writer:
    """Writes figures and tables to a folder and remembers where."""

    files: Path
    several: bool
    """Whether names need the model's in front."""
    advance: Callable[[int], None]
    """Told of every picture."""

    def __post_init__(self) -> None:
        self.written: list[Path] = []

    def sections(self, model: str, scores: pd.DataFrame, metrics: pd.DataFrame) -> list[Section]:
        """What the page shows of one model."""
        prefix = f"{model_key(model)}-" if self.several else ""
        found = []
        if len(scores):
            found += self._score_sections(model, prefix, task_scores(scores))
        if len(metrics):
            grids = list(metric_grids(metrics))
            curves = [self._picture(prefix, grid, layer_curves(grid), "curves") for grid in grids]
            maps = [self._picture(prefix, grid, heatmap(grid), "heatmap") for grid in grids]
            both = [picture for pair in zip(maps, curves, strict=True) for picture in pair]
            found.append(Section(f"{shown_name(model)}: metrics", small=tuple(both)))
        return found

    def _score_sections(self, model: str, prefix: str, scores: pd.DataFrame) -> list[Section]:
        sections = []
        for pooling, part in scores.groupby("pooling"):
            tasks = list(task_grids(part))
            first = mean_grid(part) if len(tasks) > 1 else tasks[0]
            best = best_layers(first)
            self.table(f"{prefix}best_layers-{pooling}", best)
            large = (
                self._picture(prefix, first, heatmap(first), "heatmap"),
                self._picture(prefix, first, layer_curves(first), "curves"),
            )
            section = Section(
                heading=f"{shown_name(model)}: scores, {pooling} pooling",
                tables=(
                    (f"Best layer: {first.title}", best),
                    ("Best checkpoint and layer per task", best_per_task(tasks)),
                ),
                large=large,
                small=tuple(
                    self._picture(prefix, grid, heatmap(grid), "heatmap")
                    for grid in tasks
                    if grid is not first
                ),
            )
            sections.append(section)
        return sections

    def _picture(self, prefix: str, grid: Grid, figure: Figure, kind: str) -> Picture:
        path = self.files / f"{prefix}{kind}-{grid.slug}.png"
        figure.savefig(path, format="png", metadata={"Software": "actstore"})
        self.written.append(path)
        self.advance(1)
        return Picture(path, grid.about)

    def table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as CSV."""
        path = self.files / f"{name}.csv"
        table.to_csv(path, index=False)
        self.written.append(path)
