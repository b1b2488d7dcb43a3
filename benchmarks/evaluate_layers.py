"""All layers of a task in one call, against one call for each layer.

    python -m benchmarks.evaluate_layers STORE [LAYERS]

is one call: it starts, scores these layers with one worker and ends. Compared is the CPU time of
everything that was started.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from actstore.evaluate import EvaluationRequest, evaluate
from actstore.store import Store, open_store
from benchmarks.evaluate_rows import MODEL, Rows
from benchmarks.evaluate_store import POOLING, build_store
from benchmarks.evaluate_tasks import Settings, sized_task
from benchmarks.timing import Row, cost

TASKS = ("STSBenchmark", "EmotionClassification")


def layers_rows(settings: Settings) -> Iterator[Row]:
    return (layers_row(settings, name) for name in settings.tasks or TASKS)


def layers_row(settings: Settings, name: str) -> Row:
    """One round: a hundred processes are enough."""
    store = make_store(settings, name)
    together = cost(lambda: call(store, "all"))
    once = _main_scores(store)
    apart = cost(lambda: [call(store, str(layer)) for layer in range(settings.layers)])
    if _main_scores(store) != once:
        raise RuntimeError(f"{name} has other scores layer by layer.")
    what = f"{settings.layers} layers of {name} in one call against {settings.layers} calls"
    seconds = f"{together.cpu:.0f} against {apart.cpu:.0f} s"
    return Row(what, "≤ 0.5 x CPU", f"{together.cpu / apart.cpu:.2f} x ({seconds})")


def make_store(settings: Settings, name: str) -> Store:
    task = sized_task(name, settings.scale)
    layers = [Rows(settings.hidden, seed) for seed in range(settings.layers)]
    return build_store(settings.folder / f"layers of {name}.zarr", [task], layers, "float16")


def call(store: Store, layers: str) -> dict[str, int]:
    """Score in a process of its own. Returns the peaks of memory that it prints, in bytes."""
    words = [sys.executable, "-m", "benchmarks.evaluate_layers", str(store.path), layers]
    done = subprocess.run(words, capture_output=True, text=True, cwd=_ROOT)
    if done.returncode != 0:
        raise RuntimeError(f"scoring layers {layers} ended with {done.returncode}: {done.stderr}")
    peaks: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return peaks


_ROOT = Path(__file__).parents[1]


def main() -> None:
    path, *layers = sys.argv[1:]
    request = EvaluationRequest(
        MODEL, "benchmark", layers=(layers or ["all"])[0], poolings=(POOLING,), overwrite=True
    )
    report = evaluate(open_store(path), request)
    if report.failures:
        raise SystemExit(report.failures[0].trace)
    whose = {"parent": resource.RUSAGE_SELF, "worker": resource.RUSAGE_CHILDREN}
    print(
        json.dumps({name: resource.getrusage(who).ru_maxrss << 10 for name, who in whose.items()})
    )


def _main_scores(store: Store) -> list[float]:
    table = open_store(store.url).scores().sort_values(["layer", "split", "subset"])
    return [float(value) for value in table["main_score"]]


if __name__ == "__main__":
    main()
