"""What metrics cost, beside the arithmetic that they cannot do without.

    OMP_NUM_THREADS=1 python -m benchmarks.metrics [--only spectra,tokens,lens,workers]

Every line is a ratio to a floor that runs in turn with it, in this process and with the libraries
that the metrics use. Compared is CPU time of one thread; of the workers it is wall time.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks.metrics_lens import lens_rows
from benchmarks.metrics_spectra import spectra_rows
from benchmarks.metrics_tokens import tokens_rows
from benchmarks.metrics_workers import workers_rows
from benchmarks.timing import Row, target_table


def main() -> None:
    options = _options()
    rows = []
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
        threadpool_limits(limits=1),
    ):
        benchmarks = _benchmarks(options, Path(folder))
        for name in options.only.split(",") if options.only else benchmarks:
            for row in benchmarks[name]():
                print(f"{name}: {row.what}: {row.measured}", flush=True)
                rows.append(row)
    print(f"\n{target_table(rows)}")


def _benchmarks(
    options: argparse.Namespace, folder: Path
) -> dict[str, Callable[[], Iterable[Row]]]:
    rounds = options.rounds
    return {
        "spectra": lambda: spectra_rows(rows=options.rows, hidden=options.hidden, rounds=rounds),
        "tokens": lambda: tokens_rows(
            prompts=options.prompts, hidden=options.hidden, rounds=rounds
        ),
        "lens": lambda: lens_rows(tokens=options.tokens, hidden=options.hidden, rounds=rounds),
        "workers": lambda: workers_rows(
            folder, rows=options.rows, hidden=options.hidden, layers=12, rounds=rounds
        ),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="NAME,…", help="spectra, tokens, lens, workers")
    parser.add_argument("--folder", type=Path, help="where a store is written")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--prompts", type=int, default=1_000)
    parser.add_argument("--tokens", type=int, default=512, help="of the lens")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
