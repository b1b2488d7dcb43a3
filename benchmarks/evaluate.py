"""Evaluation from a store against mteb, and what was promised of it.

    OMP_NUM_THREADS=1 python -m benchmarks.evaluate [--only floor,fast] [--tasks STS12,STS13]

Lines run on synthetic data of the sizes that the tasks have, `--scale` times; vectors are those of
no model, but of a language model's kind. Compared is CPU time of one thread, and what each side
includes is told in the file that runs it. MindSmallReranking has a benchmark of its own:
`python -m benchmarks.evaluate_mind`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.evaluate_fast import fast_rows
from benchmarks.evaluate_floor import floor_rows
from benchmarks.evaluate_layers import layers_rows
from benchmarks.evaluate_memory import memory_rows
from benchmarks.evaluate_precision import precision_rows
from benchmarks.evaluate_scores import one_quiet_thread
from benchmarks.evaluate_tasks import SELECTIONS, Settings
from benchmarks.timing import Row, target_table

BENCHMARKS: dict[str, Callable[[Settings], Iterable[Row]]] = {
    "floor": floor_rows,
    "fast": fast_rows,
    "layers": layers_rows,
    "memory": memory_rows,
    "precision": precision_rows,
}
_LAYERS = {"floor": 4, "layers": 25}


def run(settings: Settings, name: str) -> list[Row]:
    """The rows of a benchmark, each printed as soon as it is measured."""
    rows = []
    for row in BENCHMARKS[name](settings):
        print(f"{name}: {row.what}: {row.measured}", flush=True)
        rows.append(row)
    return rows


def main() -> None:
    options = _options()
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, one_quiet_thread():
        for name in options.only:
            settings = Settings(
                folder=Path(folder),
                hidden=options.hidden,
                scale=options.scale,
                layers=options.layers or _LAYERS.get(name, 1),
                rounds=options.rounds,
                tasks=tuple(options.tasks),
            )
            rows += run(settings, name)
    print(f"\n{target_table(rows)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=_names(BENCHMARKS), default=[*BENCHMARKS], metavar="NAME,…")
    parser.add_argument("--tasks", type=_names(SELECTIONS), default=[], metavar="TASK,…")
    parser.add_argument("--folder", type=Path, help="where stores are written")
    parser.add_argument("--scale", type=float, default=1.0, help="times the tasks' real sizes")
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--layers", type=int, help="by default 4 of floor, 25 of layers")
    parser.add_argument("--rounds", type=int, default=3, help="of precision: different vectors")
    return parser.parse_args()


def _names(known: dict[str, object]) -> Callable[[str], list[str]]:
    def parse(words: str) -> list[str]:
        names = words.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(
                f"there is no {min(unknown)}; choose from {', '.join(known)}"
            )
        return names

    return parse


if __name__ == "__main__":
    main()
