"""The benchmarks with the clock off: the cases they compare do the same work."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks import reading


def test_reading_compares_equal_results(tmp_path: Path) -> None:
    suites = reading.build(tmp_path, n_texts=200, n_layers=3, hidden=16)
    for cases in suites.values():
        results = {name: run() for name, run in cases.items()}
        assert all(result.dtype == np.float32 for result in results.values())
        np.testing.assert_array_equal(results["actstore"], results["memory map"])
        np.testing.assert_array_equal(results["zarr-python"], results["memory map"])
