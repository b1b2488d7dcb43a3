from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from actstore.errors import CorruptShardError, UnknownNameError
from actstore.store import EvaluationFailure, ScoreRecord, Store, create_store, open_store

SCORE = ScoreRecord(
    model="m",
    checkpoint="step10",
    layer=1,
    pooling="mean",
    task="STS12",
    task_type="STS",
    split="test",
    subset="default",
    main_score=0.5,
    scores={"cosine_spearman": 0.5, "cosine_pearson": 0.25},
    in_average=True,
    evaluation_seconds=1.0,
    mteb_version="2",
    inputs_digest="d",
)
FAILURE = EvaluationFailure(
    model="m",
    checkpoint="step10",
    layer=1,
    pooling="mean",
    transform="",
    task="STS12",
    error="ValueError: no",
    traceback="Traceback …",
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return create_store(tmp_path / "s.zarr")


def journal(store: Store, folder: str = "journal") -> Path:
    (path,) = (store.path / "scores" / folder).glob("*.jsonl")
    return path


def test_scores_are_one_row_a_unit_and_the_latest_counts(store: Store) -> None:
    store.record_scores([SCORE, replace(SCORE, checkpoint="step2"), replace(SCORE, layer=0)])
    store.record_scores([replace(SCORE, main_score=0.75)])
    table = open_store(store.url).scores()
    assert table[["checkpoint", "step", "layer", "main_score"]].values.tolist() == [
        ["step2", 2.0, 1, 0.5],
        ["step10", 10.0, 0, 0.5],
        ["step10", 10.0, 1, 0.75],
    ]


def test_a_score_of_transformed_states_stands_beside_that_of_the_states_as_stored(
    store: Store,
) -> None:
    store.record_scores([SCORE, replace(SCORE, transform="center+l2", main_score=0.75)])
    table = store.scores()
    assert table[["transform", "main_score"]].values.tolist() == [["", 0.5], ["center+l2", 0.75]]


def test_every_field_of_a_score_comes_back_as_it_was_given(store: Store) -> None:
    given = replace(SCORE, transform="l2", main_score=0.1 + 0.2, in_average=False)
    store.record_scores([given])
    (row,) = store.scores().to_dict("records")
    expected = {**asdict(given), "step": 10.0, "environment": ""}
    del expected["scores"]
    assert row == expected


def test_scores_that_are_no_numbers_come_back_as_such(store: Store) -> None:
    leaves = {"nauc": math.nan, "loss": math.inf}
    store.record_scores([replace(SCORE, main_score=math.nan, scores=leaves)])
    assert math.isnan(store.scores()["main_score"][0])
    found = store.score_leaves("STS12")
    assert math.isnan(found["nauc"][0])
    assert found["loss"][0] == math.inf


def test_leaves_are_those_of_the_score_that_counts(store: Store) -> None:
    store.record_scores([SCORE, replace(SCORE, task="STS13", scores={"other": 1.0})])
    store.record_scores([replace(SCORE, scores={"cosine_spearman": 0.75, "cosine_pearson": 0.5})])
    found = store.score_leaves("STS12")
    assert found[["checkpoint", "layer", "cosine_spearman", "cosine_pearson"]].values.tolist() == [
        ["step10", 1, 0.75, 0.5]
    ]
    assert "other" not in found
    with pytest.raises(UnknownNameError, match=r"no scored task.*'STS14'.*'STS1[23]'"):
        store.score_leaves("STS14")


def test_leaves_of_a_score_that_was_never_committed_do_not_count(store: Store) -> None:
    store.record_scores([SCORE])
    kept = journal(store)
    lines = kept.read_bytes()
    store.record_scores([replace(SCORE, scores={"cosine_spearman": 9.0})])
    kept.write_bytes(lines)  # as a process leaves it that is killed between the two journals
    assert store.score_leaves("STS12")["cosine_spearman"].tolist() == [0.5]


def test_a_torn_last_line_is_no_score_and_a_damaged_one_is_an_error(store: Store) -> None:
    store.record_scores([SCORE])
    path = journal(store)
    whole = path.read_text()
    path.write_text(whole + whole[:40])
    assert len(store.scores()) == 1
    path.write_text(whole.replace("0.5", "0.6"))
    with pytest.raises(CorruptShardError, match=r"scores/journal/.* is damaged.*actstore eval"):
        store.scores()


def test_damaged_leaves_are_an_error(store: Store) -> None:
    store.record_scores([SCORE])
    path = journal(store, "leaves")
    path.write_text(path.read_text().replace("0.25", "0.26"))
    assert len(store.scores()) == 1
    with pytest.raises(CorruptShardError, match=r"scores/leaves/.* is damaged.*actstore eval"):
        store.score_leaves("STS12")


def test_an_environment_is_stored_once_and_found_by_its_name(store: Store) -> None:
    one, other = {"threads": 1, "versions": {"mteb": "2"}}, {"threads": 4}
    store.record_scores([replace(SCORE, environment=one), replace(SCORE, layer=2)])
    store.record_scores([replace(SCORE, layer=0, environment=dict(reversed(one.items())))])
    store.record_scores([replace(SCORE, layer=3, environment=other)])
    names = store.scores()["environment"].tolist()
    environments = store.score_environments()
    assert [environments.get(name) for name in names] == [one, one, None, other]
    assert len(environments) == 2


def test_a_failure_counts_until_its_unit_is_scored(store: Store) -> None:
    store.record_scores([SCORE])
    store.record_evaluation_failures([FAILURE, replace(FAILURE, layer=0)])
    store.record_evaluation_failures([replace(FAILURE, error="KeyError: again")])
    failed = store.evaluation_failures()
    assert failed[["layer", "error"]].values.tolist() == [
        [0, "ValueError: no"],
        [1, "KeyError: again"],
    ]
    assert failed["step"].tolist() == [10, 10]
    store.record_scores([replace(SCORE, transform="l2"), replace(SCORE, task="STS13")])
    assert len(store.evaluation_failures()) == 2
    store.record_scores([SCORE])
    (left,) = store.evaluation_failures().to_dict("records")
    assert (left["layer"], left["traceback"]) == (0, "Traceback …")


def test_a_store_without_scores_has_empty_tables_with_the_same_columns(store: Store) -> None:
    empty_scores, empty_failures = store.scores(), store.evaluation_failures()
    assert len(empty_scores) == len(empty_failures) == 0
    store.record_evaluation_failures([FAILURE])
    assert store.evaluation_failures().columns.tolist() == empty_failures.columns.tolist()
    store.record_scores([SCORE])
    assert store.scores().columns.tolist() == empty_scores.columns.tolist()
    assert store.scores().dtypes.to_dict() == empty_scores.dtypes.to_dict()
    assert store.scores()["step"].dtype == np.float64
    assert store.score_environments() == {}
