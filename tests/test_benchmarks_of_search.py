"""The benchmark of the search with the clock off: its grid is what it says, its table is told."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks import search


def test_the_made_up_grid_is_the_same_each_time_and_of_the_published_shape() -> None:
    scores = search.made_up_scores()
    assert len(scores) == 14 * 25 * 16
    assert not scores.duplicated(["checkpoint", "layer", "task"]).any()
    pd.testing.assert_frame_equal(scores, search.made_up_scores())
    means = scores.groupby(["checkpoint", "layer"])["score"].mean()
    _, layer = means.idxmax()
    assert 10 <= layer <= 22  # its best is neither the first nor the last layer


def test_the_benchmark_tells_targets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["search", "--seeds", "2", "--layers", "6", "--tasks", "4"])
    search.main()
    said = capsys.readouterr().out
    assert "LinUCB as published" in said
    assert said.count("| regret after 10 % of the arms") == 1
