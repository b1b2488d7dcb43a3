"""Two CPU workers against one, as users start them, each with a core and a thread of its own.

Compared is what the same commands take for many texts, less what they take for few: starting
Python, importing torch and loading the model is left out. Needs two cores and Linux.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.extract_floor import fresh_store
from benchmarks.timing import Cases, Row, paired_costs
from benchmarks.workload import Lengths, Settings, Workload, make_workload

DEVICES = {1: "cpu", 2: "cpu:2"}
LENGTHS = Lengths(median=12, p95=60, longest=200)
"""Shorter than elsewhere: what counts here is that there are enough shards."""
_FEW = 64
_SHARDS = 16
"""Of the many texts: with fewer, one worker often waits for the other's last one."""


def workers_rows(settings: Settings) -> list[Row]:
    what, target = "two CPU workers against one, a core and a thread each", "≥ 1.8 x throughput"
    if len(os.sched_getaffinity(0)) < 2:
        return [Row(what, target, "not run: this process may use one core only")]
    costs = paired_costs(workers_cases(settings), settings.rounds)
    seconds = {
        n: [many - few for many, few in zip(costs[f"{n} many"], costs[f"{n} few"], strict=True)]
        for n in DEVICES
    }
    ratio = median(one.wall / two.wall for one, two in zip(seconds[1], seconds[2], strict=True))
    return [Row(what, target, f"{ratio:.2f} x throughput")]


def workers_cases(settings: Settings) -> Cases:
    """Each number of workers over many texts and over few: `1 many`, `1 few`, `2 many`, `2 few`."""
    # Shards hold a power of two of rows: one text less than that many shards would have twice.
    n_many = max(_FEW, settings.texts // _SHARDS) * _SHARDS - 1
    shorter = replace(settings, lengths=LENGTHS)
    work = {"many": make_workload(shorter, n_many), "few": make_workload(shorter, _FEW)}
    return {
        f"{n} {name}": command(settings, some, n) for n in DEVICES for name, some in work.items()
    }


def command(settings: Settings, work: Workload, n_workers: int) -> Callable[[], None]:
    """`actstore extract` into a new store, on the first n of this process's cores."""
    store = settings.folder / "workers.zarr"
    cores = set(sorted(os.sched_getaffinity(0))[:n_workers])

    def run() -> None:
        fresh_store(store, work.texts)
        done = subprocess.run(
            extract_command(store, work.model, settings, DEVICES[n_workers]),
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"actstore extract ended with {done.returncode}: {done.stderr}")

    return run


def extract_command(store: Path, model: Path, settings: Settings, devices: str) -> list[str]:
    """The command line of an extraction of every text of a store."""
    options = {
        "--model": model,
        "--devices": devices,
        "--threads": 1,
        "--max-tokens": settings.max_tokens,
    }
    words = [str(word) for pair in options.items() for word in pair]
    return [sys.executable, "-m", "actstore", "extract", str(store), *words, "--no-lens-head"]
