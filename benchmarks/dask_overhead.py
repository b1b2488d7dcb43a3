"""What sending units to Dask workers costs, at the demo's scale times 100.

The units are the demo's, 6 tasks x 7 checkpoints x 7 layers, at 100 times as many checkpoints, in
the batches in which evaluation sends them; a worker sleeps for a unit's time and returns a result
of usual size. 0.03 s is what the quickest of the demo's tasks takes; their mean is 0.24 s. Sleeping
workers leave the cores to the scheduler, as machines of their own would. Workers have imported
what they need in a first, small run.

Run: python -m benchmarks.dask_overhead [folder]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mteb.results import TaskResult

from actstore.dask_pool.places import LOCAL, DaskPlace, WorkerNeeds
from actstore.dask_pool.pool import DaskPool, dask_pool
from actstore.evaluate.scoring.cluster import batches, found_by
from actstore.evaluate.scoring.transform import Representation, Transform
from actstore.evaluate.scoring.unit import Unit, UnitOutcome
from actstore.evaluate.suites.selection import TaskSelection
from actstore.store import create_store
from benchmarks.timing import Cost, Row, cost, target_table

TASKS, CHECKPOINTS, LAYERS = 6, 700, 7


def overhead_rows(
    folder: Path, *, unit_seconds: float, workers: int, checkpoints: int = CHECKPOINTS
) -> Iterator[Row]:
    """unit_seconds: of one unit on a worker."""
    store = create_store(folder / "overhead.zarr").absolute_url
    units = demo_units(checkpoints)
    with dask_pool(DaskPlace(LOCAL, workers, dashboard=False), WorkerNeeds(store)) as pool:
        _score(pool, demo_units(4 * workers), 0.0)
        spent = cost(lambda: _score(pool, units, unit_seconds))
    yield from _rows(spent, len(units), unit_seconds, workers)


def demo_units(checkpoints: int) -> tuple[Unit, ...]:
    """The demo's units at so many checkpoints, in the order of a plan."""
    tasks = [TaskSelection.of_all(f"Task{i}", ["test"], ["default"]) for i in range(TASKS)]
    states = [
        Representation((layer,), "mean_normed", Transform.parse("")) for layer in range(LAYERS)
    ]
    return tuple(
        Unit(task, "Retrieval", "org/model", f"step{step}", state, "0" * 32)
        for task in tasks
        for step in range(checkpoints)
        for state in states
    )


def _score(pool: DaskPool, units: Sequence[Unit], seconds: float) -> None:
    def start(client: Any, batch: Sequence[Unit]) -> Any:
        return client.submit(_simulate, batch, seconds, pure=False)

    found = 0
    for batch, future in pool.results(batches(units, pool.count()), start):
        found += sum(outcome.result is not None for outcome in found_by(future, batch))
    assert found == len(units)


def _simulate(batch: Sequence[Unit], seconds: float) -> list[UnitOutcome]:
    """On a worker."""
    outcomes = []
    for unit in batch:
        time.sleep(seconds)
        scores = {"main_score": 0.5, **{f"score_at_{i}": i / 7 for i in range(100)}}
        result = TaskResult(
            task_name=unit.task.name,
            dataset_revision="0" * 40,
            mteb_version="2",
            scores={"test": [{"hf_subset": "default", "languages": ["eng-Latn"], **scores}]},
            evaluation_time=seconds,
        )
        outcomes.append(UnitOutcome(unit, result))
    return outcomes


def _rows(spent: Cost, n: int, seconds: float, workers: int) -> Iterator[Row]:
    ideal = n * seconds / workers
    what = f"{n:,} units of {seconds * 1000:.0f} ms on {workers} Dask workers"
    yield Row(f"{what}: wall over ideal", "≤ 1.02 x", f"{spent.wall / ideal:.3f} x")
    yield Row(
        "the same: CPU of scheduler and client for a unit", "", f"{1e3 * spent.cpu / n:.2f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--unit-seconds", type=float, default=0.03)
    parser.add_argument("--workers", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rows = overhead_rows(
            Path(folder), unit_seconds=options.unit_seconds, workers=options.workers
        )
        print(target_table(list(rows)))


if __name__ == "__main__":
    main()
