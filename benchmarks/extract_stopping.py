"""How long a run takes to end on SIGTERM, with its leases given back, at several moments."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.extract_floor import fresh_store
from benchmarks.extract_workers import extract_command
from benchmarks.timing import Row
from benchmarks.workload import Settings, Workload, make_workload

EX_TEMPFAIL = 75

MOMENTS: dict[str, Callable[[Path], bool]] = {
    "loading": lambda store: any(_age(log) > 0.2 for log in store.glob("runs/*.jsonl")),
    "a shard": lambda store: any(store.glob("models/*/*/ledger/*.jsonl")),
    "a commit": lambda store: any(store.glob("models/*/*/*_pool/c.*.partial")),
}
"""How a moment is told from the store: the run log, the first commit, a shard being written."""


@dataclass(frozen=True)
class Stop:
    """A run that was told to stop."""

    moment: str
    exit_code: int
    seconds: float
    leases_left: int


def stopping_rows(settings: Settings) -> list[Row]:
    work = make_workload(settings)
    stops = [stop_at(settings, work, moment) for _ in range(settings.rounds) for moment in MOMENTS]
    seconds = [stop.seconds for stop in stops]
    wrong = {
        f"{stop.moment}: exit code {stop.exit_code}, {stop.leases_left} leases left"
        for stop in stops
        if (stop.exit_code, stop.leases_left) != (EX_TEMPFAIL, 0)
    }
    measured = f"{median(seconds):.1f} s, at most {max(seconds):.1f} s"
    return [
        Row(
            f"SIGTERM to exit with leases released (during {', '.join(MOMENTS)})",
            "≤ 10 s",
            "; ".join([measured, *sorted(wrong)]),
        )
    ]


def stop_at(settings: Settings, work: Workload, moment: str) -> Stop:
    """Start an extraction and stop it once the moment has come, or has been missed."""
    store = settings.folder / "stopped.zarr"
    fresh_store(store, work.texts)
    command = extract_command(store, work.model, settings, "cpu")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        while run.poll() is None and not MOMENTS[moment](store):
            time.sleep(0.0005)
        start = time.perf_counter()
        run.terminate()
        code = run.wait()
    seconds = time.perf_counter() - start
    return Stop(moment, code, seconds, len(list(store.glob("leases/*.lease"))))


def _age(file: Path) -> float:
    """Seconds since a file was written."""
    return time.time() - file.stat().st_mtime
