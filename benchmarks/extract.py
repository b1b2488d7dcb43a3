"""Extraction against its floor, against other tools, and against what was promised of it.

    python -m benchmarks.extract [--only floor,recipe] [--texts 512 --rounds 3 --threads 1]

Cases run in turn, round by round; printed is the median of the rounds' ratios. What each case
includes is told in the file that runs it. The peers are installed once, in environments of their
own, with the versions of benchmarks/peers/requirements.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import transformers

from benchmarks.extract_floor import floor_rows, recipe_rows, sentence_transformers_rows
from benchmarks.extract_gpu import gpu_rows
from benchmarks.extract_memory import memory_rows
from benchmarks.extract_peers import PEERS, peer_row
from benchmarks.extract_stopping import stopping_rows
from benchmarks.extract_workers import workers_rows
from benchmarks.timing import Row, target_table
from benchmarks.workload import Settings, Shape

_CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "actstore-benchmarks"


def _peer(name: str) -> Callable[[Settings], list[Row]]:
    return lambda settings: [peer_row(settings, name)]


BENCHMARKS: dict[str, Callable[[Settings], list[Row]]] = {
    "floor": floor_rows,
    "sentence-transformers": sentence_transformers_rows,
    "recipe": recipe_rows,
    **{name.replace("_", "-"): _peer(name) for name in PEERS},
    "memory": memory_rows,
    "workers": workers_rows,
    "stopping": stopping_rows,
    "gpu": gpu_rows,
}


def run(settings: Settings, names: list[str]) -> list[Row]:
    """The rows of these benchmarks, each printed as soon as it is measured."""
    torch.set_num_threads(settings.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    rows = []
    for name in names:
        for row in BENCHMARKS[name](settings):
            print(f"{name}: {row.measured}", flush=True)
            rows.append(row)
    return rows


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        settings = Settings(
            folder=Path(folder),
            environments=options.environments,
            shape=Shape(blocks=options.blocks, hidden=options.hidden, heads=options.hidden // 64),
            texts=options.texts,
            rounds=options.rounds,
            threads=options.threads,
        )
        rows = run(settings, options.only)
    print(f"\n{target_table(rows)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=_names, default=list(BENCHMARKS), metavar="NAME,…")
    parser.add_argument("--folder", type=Path, help="where models and stores are written")
    parser.add_argument("--environments", type=Path, default=_CACHE, help="of the peers")
    sizes = {"texts": 512, "rounds": 3, "threads": 1, "blocks": 6, "hidden": 512}
    for name, size in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    return parser.parse_args()


def _names(words: str) -> list[str]:
    names = words.split(",")
    if unknown := set(names) - set(BENCHMARKS):
        raise argparse.ArgumentTypeError(
            f"there is no benchmark {min(unknown)}; choose from {', '.join(BENCHMARKS)}"
        )
    return names


if __name__ == "__main__":
    main()
