"""The command `actstore status` on stores of any size."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import status as benchmark


def test_the_benchmark_asks_for_a_whole_status(tmp_path: Path) -> None:
    size = benchmark.Size(checkpoints=3, shards=18, tasks=2, metrics=4, rows_per_shard=64)
    store = benchmark.build(tmp_path, size)
    cases = benchmark.make_cases(store)
    cases["reading"]()
    found = json.loads(str(cases["status"]()))
    counts = {one["stage"]: (one["state"], one["done"], one["total"]) for one in found["stages"]}
    assert counts == {
        "collect": ("unknown", 192, None),
        "extract": ("done", 18, 18),
        "eval": ("unknown", 3 * 25 * 2, None),
        "metrics": ("unknown", 3 * 25 * 4, None),
    }
    assert len(found["models"][0]["checkpoints"]) == 3
    assert len(found["evaluation"]["scored"]) == 3
