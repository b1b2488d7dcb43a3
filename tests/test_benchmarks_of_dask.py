"""The benchmark of Dask's overhead with the clock off."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.dask_overhead import LAYERS, TASKS, demo_units, overhead_rows
from benchmarks.timing import target_table


def test_the_units_are_the_demos_at_more_checkpoints() -> None:
    units = demo_units(700)
    assert len(units) == 100 * 6 * 7 * 7
    assert len({unit.key for unit in units}) == len(units)


@pytest.mark.slow
def test_every_simulated_unit_is_scored(tmp_path: Path) -> None:
    rows = overhead_rows(tmp_path, unit_seconds=0.0001, workers=2, checkpoints=2)
    assert f"{2 * TASKS * LAYERS} units of 0 ms on 2 Dask workers" in target_table(list(rows))
