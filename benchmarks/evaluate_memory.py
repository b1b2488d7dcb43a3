"""Peak memory of scoring the largest task from a store, against the matrix of its vectors.

ArxivClusteringS2S, of which mteb clusters 31 sets of 628,000 different texts: one layer, one
worker. Counted is all resident memory of the process that scores, libraries included, and of the
one that started it beside it. Needs Linux.
"""

from __future__ import annotations

from benchmarks.evaluate_layers import call
from benchmarks.evaluate_rows import Rows
from benchmarks.evaluate_store import build_store
from benchmarks.evaluate_tasks import Settings, sized_task
from benchmarks.timing import Row

TASK = "ArxivClusteringS2S"


def memory_rows(settings: Settings) -> list[Row]:
    """One run: what is held at most is the same every time."""
    task = sized_task(TASK, settings.scale)
    layers = [Rows(settings.hidden)]
    store = build_store(settings.folder / "memory.zarr", [task], layers, "float16")
    del task
    n_texts = len(store.text_rows())
    matrix = n_texts * settings.hidden * 4
    peaks = call(store, "all")
    sizes = f"{peaks['worker'] / 2**30:.2f} GiB, beside it {peaks['parent'] / 2**30:.2f} GiB"
    what = f"peak memory of scoring {TASK} ({n_texts} texts of {matrix / 2**30:.2f} GiB)"
    return [Row(what, "≤ 2 x the float32 matrix", f"{peaks['worker'] / matrix:.2f} x ({sizes})")]
