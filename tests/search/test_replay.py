"""Replays on finished tables: what strategies see, what is counted, and files of tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from actstore.cli import app
from actstore.errors import InvalidInputError
from actstore.search import Table, one_task, replay, score_table, searching, suite_mean, z_score
from actstore.search.baselines import grid, linucb, oracle, random_order, successive_halving
from actstore.search.trials import read_metrics, read_scores, stop, strategies, summary, trials
from tests.search.grids import arms_of, scores_on, table_of


@pytest.fixture
def scores() -> pd.DataFrame:
    arms = arms_of(4, 6)
    return table_of(arms, scores_on(arms, 4))


@pytest.fixture
def table(scores: pd.DataFrame) -> Table:
    return score_table(scores, suite_mean(sorted(scores["task"].unique())))


def test_the_values_of_a_table_are_its_means(table: Table, scores: pd.DataFrame) -> None:
    means = scores.groupby(["checkpoint", "layer"])["score"].mean()
    pairs = zip(table.arms.checkpoint, table.arms.layer.tolist(), strict=True)
    np.testing.assert_allclose(table.values, [means[pair] for pair in pairs])


def test_a_table_with_gaps_is_refused(scores: pd.DataFrame) -> None:
    with pytest.raises(InvalidInputError, match="1 of 96 scores are missing"):
        score_table(scores.iloc[1:], suite_mean(sorted(scores["task"].unique())))


def test_every_strategy_names_the_best_once_it_has_all_scores(table: Table) -> None:
    for name, strategy in strategies(table, None).items():
        found = replay(name, strategy, table, 0, table.scores.size)
        assert found.looks["regret"].iloc[-1] == 0, name
        assert found.looks["n_scores"].is_monotonic_increasing
        assert found.looks["n_scores"].iloc[-1] <= table.scores.size


@pytest.mark.parametrize("strategy", [random_order, grid])
def test_orders_look_at_every_arm_once(strategy: object, table: Table) -> None:
    looks = list(strategy(table, 3))  # type: ignore[operator]
    assert [look.n_scores for look in looks] == [4 * n for n in range(1, 25)]
    best = [look.best for look in looks]
    assert (np.diff(table.values[best]) >= 0).all()


def test_the_oracle_needs_one_arm(table: Table) -> None:
    found = replay("oracle", oracle, table, 0, table.scores.size)
    assert found.scores_to(0.0) == 4
    assert found.regret_after(4) == 0


def test_halving_spends_less_than_all_scores(table: Table) -> None:
    found = replay("halving", successive_halving, table, 0, table.scores.size)
    assert table.scores.size / 4 < found.looks["n_scores"].iloc[-1] < table.scores.size


def test_linucb_as_published_takes_arms_by_the_length_of_their_contexts(table: Table) -> None:
    contexts = np.random.default_rng(0).normal(size=(24, 3))
    by_length = np.argsort(-np.linalg.norm(contexts, axis=1))
    looks = list(linucb(contexts)(table, 0))
    running = np.maximum.accumulate(table.values[by_length])
    np.testing.assert_array_equal(table.values[[look.best for look in looks]], running)


def test_scores_to_a_regret_are_those_after_which_it_stays() -> None:
    found = replay_of([0.5, 0.001, 0.1, 0.002, 0.0])
    assert found.scores_to(0.003) == 4
    assert found.scores_to(0.003, stays=False) == 2
    assert replay_of([0.5]).scores_to(0.003) == float("inf")
    assert found.regret_after(3) == 0.1


def test_a_stop_needs_two_confident_looks_in_a_row() -> None:
    found = replay_of([0.4, 0.3, 0.2, 0.1, 0.0], [0.96, 0.5, 0.99, np.nan, 0.97])
    assert stop(found) == (5, 0.0)
    assert np.isnan(stop(found, 0.98)).all()


def replay_of(regrets: list[float], confidences: list[float] | None = None):  # type: ignore[no-untyped-def]
    from actstore.search import Replay

    n = len(regrets)
    looks = pd.DataFrame(
        {
            "n_scores": range(1, n + 1),
            "n_arms": range(1, n + 1),
            "best": 0,
            "regret": regrets,
            "confidence": confidences or [np.nan] * n,
        }
    )
    return Replay("made", 0, looks)


def test_the_search_beats_chance_over_seeds_and_halves(scores: pd.DataFrame) -> None:
    arms = arms_of(8, 13)
    found = summary(trials(table_of(arms, scores_on(arms, 6)), None, seeds=range(4), halves=True))
    assert found.loc["oracle", "regret at 10 %"] == 0
    assert found.loc["search, racing", "regret at 10 %"] < found.loc["random", "regret at 10 %"]
    assert found.loc["random", "stopped"] is not True
    assert found["hits"].between(0, 1).all()


def test_the_search_states_a_confidence_where_it_is_asked(table: Table) -> None:
    found = replay("search", searching(race=True, confidence_every=4), table, 0, 60)
    asked = found.looks["n_scores"] % 4 == 0
    assert found.looks.loc[asked & (found.looks["n_scores"] >= 20), "confidence"].notna().all()
    assert found.looks.loc[~asked, "confidence"].isna().all()


def test_z_scores_are_against_the_layers_of_the_final_checkpoint() -> None:
    final = pd.DataFrame({"A": [0.1, 0.3], "B": [0.5, 0.9]}, index=[0, 1])
    objective = z_score(["A", "B"], final)
    np.testing.assert_allclose(objective.of(final.to_numpy()), [-1, 1])
    with pytest.raises(InvalidInputError, match="fails for B"):
        z_score(["A", "B"], final.assign(B=0.5))
    with pytest.raises(InvalidInputError, match="fails for C"):
        z_score(["A", "C"], final)


def test_parts_of_an_aggregate_count_as_one_task() -> None:
    objective = suite_mean(["A", "B", "C"], ["", "Whole", "Whole"])
    np.testing.assert_allclose(objective.weights, [0.5, 0.25, 0.25])
    assert one_task("B", ["A", "B"]).tasks == ("B",)


def test_tables_are_read_as_they_are_published(tmp_path: Path, scores: pd.DataFrame) -> None:
    theirs = scores.rename(columns={"checkpoint": "revision", "score": "main_score"})
    theirs.assign(evaluation_time=2.0).to_parquet(tmp_path / "scores.parquet")
    pd.testing.assert_frame_equal(
        read_scores(tmp_path / "scores.parquet")[list(scores)], scores, check_dtype=False
    )
    metrics = pd.DataFrame(
        {
            "revision": ["main"],
            "layer": [0],
            "metric": ["dime"],
            "normalization": ["raw"],
            "value": 1,
        }
    )
    metrics.to_csv(tmp_path / "metrics.csv", index=False)
    assert list(read_metrics(tmp_path / "metrics.csv")["metric"]) == ["dime/raw"]
    with pytest.raises(InvalidInputError, match="no column task or score"):
        read_scores(tmp_path / "metrics.csv")
    with pytest.raises(InvalidInputError, match="no table"):
        read_scores(tmp_path / "absent.csv")


def test_the_command_replays_a_table(
    tmp_path: Path, scores: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    scores.to_csv(tmp_path / "scores.csv", index=False)
    app(["search", "--replay", str(tmp_path / "scores.csv"), "--seeds", "1"], standalone_mode=False)
    said = capsys.readouterr().out
    for name in ("search", "random", "grid", "halving", "oracle"):
        assert name in said
    assert "LinUCB" not in said  # it is nothing without metrics
    with pytest.raises(InvalidInputError, match="actstore search STORE"):
        app(["search"], standalone_mode=False)
