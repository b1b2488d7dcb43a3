"""The whole of actstore in a few minutes, with no model hub, no dataset and no GPU.

A tiny Pythia is trained on the standard library's docstrings and comments, and goes the way a real
one does: every layer of every checkpoint into a store, MTEB tasks and metrics from it, a report.
The tasks' texts are among those it is trained on; their labels are not.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from actstore.evaluate import EvaluationRequest, collect, evaluate
from actstore.extract import (
    ExtractionRequest,
    TinyPythia,
    choose_token_sample,
    extract,
    train_tiny_pythia,
)
from actstore.metrics import MetricsRequest, compute_metrics
from actstore.report import write_report
from actstore.stdlib_text import comments, docstrings
from actstore.store import Store, create_store

MODEL = "tiny-pythia"
SUITE = "demo"
POOLING = "mean_normed"
_N_SAMPLED = 100
"""Texts of which every token's states are stored."""


@dataclass(frozen=True)
class TaskProgress:
    """A task's score at its best layer, at the first checkpoint and at the last."""

    task: str
    first: float
    first_layer: int
    last: float
    last_layer: int


@dataclass(frozen=True)
class DemoReport:
    """What the demo made, and where it is."""

    store: Path
    report: Path
    checkpoints: tuple[str, ...]
    tasks: tuple[TaskProgress, ...]
    failures: tuple[str, ...]
    """Scores that could not be computed, and why."""
    seconds: float

    @property
    def snippet(self) -> str:
        """Python to try on the store."""
        return f"""import actstore
store = actstore.open_store("{self.store}")
ds = store.dataset("{MODEL}")  # checkpoint x layer x text x hidden, read when computed
ds["{POOLING}_pool"].sel(checkpoint="{self.checkpoints[-1]}", layer=3).load()
store.scores().pivot_table("main_score", ["task", "checkpoint"], "layer")
store.metrics()["value"].sel(metric="prompt_entropy").to_series().dropna()"""

    def summary(self) -> str:
        """What came out, where to look, and what to try, in some twenty lines."""
        first, last = self.checkpoints[0], self.checkpoints[-1]
        width = max(len(task.task) for task in self.tasks)
        return "\n".join(
            [
                f"{'Score at the best layer':{width}}  {first:>16}  {last:>16}",
                *(
                    f"{one.task:{width}}  {one.first:.3f} (layer {one.first_layer:>2})"
                    f"  {one.last:.3f} (layer {one.last_layer:>2})"
                    for one in self.tasks
                ),
                *(f"Not scored: {failure}" for failure in self.failures),
                "",
                f"Done in {self.seconds:.0f} s. The report: {self.report}",
                "Ask the store yourself:",
                "",
                self.snippet,
            ]
        )


def run_demo(folder: Path, recipe: TinyPythia | None = None, workers: int = 2) -> DemoReport:
    """Train, extract, evaluate, measure and report in `folder`; goes on where it was interrupted.

    folder: gets tiny-pythia/, demo.zarr/ and report.html. recipe: what is trained. workers:
    processes of the evaluation.
    """
    began = time.monotonic()
    texts = [text.text for text in (*docstrings(), *comments())]
    checkpoints = tuple(train_tiny_pythia(texts, folder / MODEL, recipe))
    store = create_store(folder / "demo.zarr")
    collect(store, SUITE)
    extract(store, _everything(store, folder / MODEL, checkpoints))
    scored = evaluate(store, EvaluationRequest(MODEL, SUITE, poolings=(POOLING,), workers=workers))
    compute_metrics(store, MetricsRequest(MODEL))
    [report] = write_report(store, folder)
    return DemoReport(
        store=store.path,
        report=report,
        checkpoints=checkpoints,
        tasks=_tasks(store.scores(), checkpoints),
        failures=tuple(f"{failure.unit}: {failure.error}" for failure in scored.failures),
        seconds=time.monotonic() - began,
    )


def _everything(store: Store, model: Path, checkpoints: tuple[str, ...]) -> ExtractionRequest:
    return ExtractionRequest(
        str(model),
        checkpoints,
        poolings=("mean", POOLING),
        threads=1,  # the model is too small for several to gain anything
        token_sample=choose_token_sample(store, str(_N_SAMPLED)),
    )


def _tasks(scores: pd.DataFrame, checkpoints: tuple[str, ...]) -> tuple[TaskProgress, ...]:
    found = []
    for task, rows in scores.groupby("task", sort=True):
        by_layer = rows.pivot_table("main_score", "checkpoint", "layer")
        first, last = (_best(by_layer, name) for name in (checkpoints[0], checkpoints[-1]))
        found.append(TaskProgress(str(task), *first, *last))
    return tuple(found)


def _best(by_layer: pd.DataFrame, checkpoint: str) -> tuple[float, int]:
    """A checkpoint's best score and the layer that has it; NaN and -1 where there is none."""
    known = by_layer.reindex(index=[checkpoint]).iloc[0].dropna()
    if known.empty:
        return float("nan"), -1
    place = int(known.to_numpy().argmax())
    return float(known.to_numpy()[place]), int(known.index.to_numpy(int)[place])
