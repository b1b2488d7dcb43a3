from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actstore.errors import MissingShardsError, PlanMismatchError, UnknownNameError
from actstore.store import CheckpointGroup, TokenisedText, TokenSample, create_store, open_store
from tests.support.states import MODEL, STATS, spec

LENGTHS = [40, 30, 20, 64, 1, 50]


def texts(lengths: list[int]) -> list[TokenisedText]:
    return [
        TokenisedText(
            row=row,
            token_id=np.arange(n, dtype=np.int32) + 100 * row,
            is_special=np.arange(n) == 0,
            n_bytes=np.full(n, 3, np.int32),
        )
        for row, n in enumerate(lengths)
    ]


@pytest.fixture
def group(tmp_path: Path) -> CheckpointGroup:
    store = create_store(tmp_path / "s.zarr")
    store.add_texts([f"text {i}" for i in range(6)])
    return store.begin_checkpoint(spec())


def write(sample: TokenSample) -> np.ndarray:
    """Known states for every token: (layer, token, hidden)."""
    n = len(sample.row)
    states = np.random.default_rng(0).standard_normal((4, n, 8)).astype("float16")
    for shard in sample.todo():
        builder = sample.new_builder()
        builder.put(shard.positions, states[:, shard.rows])
        sample.commit(shard, builder, STATS)
    return states


def test_every_token_of_every_text_is_read_back(group: CheckpointGroup) -> None:
    sample = group.begin_token_sample("few", texts(LENGTHS))
    states = write(sample)
    again = open_store(group.storage.url).checkpoint(MODEL, "step1").token_sample("few")
    assert again.todo() == []
    assert again.spans["row"].tolist() == list(range(6))
    assert (again.spans["stop"] - again.spans["start"]).tolist() == LENGTHS
    for row, start, stop in again.spans.itertuples(index=False):
        np.testing.assert_array_equal(again.states(2, start, stop), states[2, start:stop])
        np.testing.assert_array_equal(
            again.token_id[start:stop], np.arange(stop - start) + 100 * row
        )
        assert again.is_special[start]


def test_no_text_straddles_a_shard_and_padding_is_marked(group: CheckpointGroup) -> None:
    sample = group.begin_token_sample("few", texts(LENGTHS))
    size = sample.layout.rows_per_shard
    assert ((sample.spans["start"] // size) == ((sample.spans["stop"] - 1) // size)).all()
    padding = sample.row < 0
    assert padding.any()
    assert (sample.token_id[padding] == -1).all()
    assert len(sample.row) - padding.sum() == sum(LENGTHS)


def test_the_token_axis_is_the_texts_one_behind_the_other(group: CheckpointGroup) -> None:
    given = [replace(text, row=9 - text.row) for text in texts(LENGTHS)]
    sample = group.begin_token_sample("few", given)
    used = sample.row >= 0
    np.testing.assert_array_equal(sample.row[used], np.repeat([t.row for t in given], LENGTHS))
    for name in ("token_id", "is_special", "n_bytes"):
        expected = np.concatenate([getattr(text, name) for text in given])
        np.testing.assert_array_equal(getattr(sample, name)[used], expected)
    np.testing.assert_array_equal(
        sample.position[used], np.concatenate([np.arange(n) for n in LENGTHS])
    )


def test_a_text_longer_than_the_usual_shard_gets_a_longer_one(group: CheckpointGroup) -> None:
    sample = group.begin_token_sample("long", texts([3, 700]))
    assert sample.layout.rows_per_shard == 1024


def test_xarray_opens_a_sample_with_its_labels(group: CheckpointGroup) -> None:
    sample = group.begin_token_sample("few", texts(LENGTHS))
    states = write(sample)
    dataset = sample.dataset()
    assert dataset["states"].dims == ("layer", "token", "hidden")
    used = dataset["row"].values >= 0
    np.testing.assert_array_equal(dataset["states"].values[:, used], states[:, used])


def test_a_sample_is_joined_by_the_same_texts_and_refused_to_others(group: CheckpointGroup) -> None:
    group.begin_token_sample("few", texts(LENGTHS))
    assert group.begin_token_sample("few", texts(LENGTHS)).name == "few"
    with pytest.raises(
        PlanMismatchError, match="'few'.*has 6 rows, asked are 5, and 5 are in both"
    ):
        group.begin_token_sample("few", texts(LENGTHS[:-1]))
    others = [replace(text, token_id=text.token_id + 1) for text in texts(LENGTHS)]
    with pytest.raises(PlanMismatchError, match="'few'"):
        group.begin_token_sample("few", others)


def test_an_unfinished_sample_and_an_unknown_one_say_what_to_do(group: CheckpointGroup) -> None:
    sample = group.begin_token_sample("few", texts(LENGTHS))
    with pytest.raises(MissingShardsError, match="same actstore extract command"):
        sample.states(0, 0, 10)
    with pytest.raises(UnknownNameError, match="Did you mean 'few'"):
        group.token_sample("fex")
