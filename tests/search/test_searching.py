"""Searches on grids of known scores: what they propose, what they find, when they stop."""

from __future__ import annotations

import numpy as np
import pytest

from actstore.search import Costs, SearchSettings, make_arms
from tests.search.grids import arms_of, run, scores_on, search_on


@pytest.mark.parametrize("race", [True, False])
@pytest.mark.parametrize("shape", [(4, 5, 3), (1, 6, 2), (5, 1, 2), (1, 1, 1), (2, 1, 3)])
def test_every_score_is_proposed_once_and_nothing_twice(
    shape: tuple[int, int, int], race: bool
) -> None:
    arms = arms_of(*shape[:2])
    scores = scores_on(arms, shape[2])
    search = search_on(arms, shape[2], settings=SearchSettings(race=race))
    asked = run(search, scores, 1000)
    assert len(asked) == len(set(asked)) == scores.size
    assert search.complete
    assert search.propose() is None
    assert search.best() == int(np.argmax(scores.mean(axis=1)))


@pytest.mark.parametrize("seed", range(3))
def test_the_best_is_found_with_a_part_of_the_scores(seed: int) -> None:
    arms = arms_of(6, 12)
    scores = scores_on(arms, 4, seed)
    search = search_on(arms, 4, settings=SearchSettings(seed=seed))
    run(search, scores, scores.size // 4)
    means = scores.mean(axis=1)
    assert means.max() - means[search.best()] <= 0.003


def test_told_the_same_scores_again_it_goes_on_the_same() -> None:
    arms = arms_of()
    scores = scores_on(arms)
    whole = search_on(arms)
    asked = run(whole, scores, 45)
    for cut in (4, 17, 30):
        again = search_on(arms)
        for arm, task in asked[:cut]:
            again.tell(arm, task, float(scores[arm, task]))
        assert asked[:cut] + run(again, scores, 45 - cut) == asked
        assert again.standing() == whole.standing()


def test_seeds_begin_at_other_arms_and_the_same_seed_at_the_same() -> None:
    arms = arms_of(6, 12)
    first = [search_on(arms, settings=SearchSettings(seed=seed)).propose() for seed in (0, 1, 0)]
    assert first[0] == first[2] != first[1]


def test_the_first_arms_are_spread_and_never_two_times_the_same() -> None:
    arms = make_arms(["step8", "main"], [0])  # at one and the same place
    assert {one.arm for one in search_on(arms).propose_several(1)} == {0, 1}
    many = [one.arm for one in search_on(arms_of(6, 12)).propose_several(1)]
    assert len(set(many)) == 5
    depths = arms_of(6, 12).positions[many]
    assert depths.min() == 0
    assert depths.max() == 1


def test_several_proposals_are_of_different_scores_that_are_open() -> None:
    arms = arms_of()
    scores = scores_on(arms)
    search = search_on(arms)
    told = set(run(search, scores, 20))
    proposals = search.propose_several(12)
    places = [(one.arm, task) for one in proposals for task in one.tasks]
    assert len(places) == len(set(places)) == 12
    assert not told & set(places)
    assert proposals[0] == search.propose()
    assert len(search.propose_several(1000)) == scores.size - 20


def test_what_could_not_be_scored_is_not_proposed_again() -> None:
    arms = arms_of()
    scores = scores_on(arms)
    scores[:, 1] = np.nan  # a task that fails everywhere
    scores[3] = np.nan  # an arm at which all fail
    search = search_on(arms)
    asked = run(search, scores, 1000)
    assert len(asked) == len(set(asked)) == scores.size
    assert search.n_scores == int(np.isfinite(scores).sum())
    assert search.best() != 3


def test_where_all_first_arms_fail_another_is_tried() -> None:
    arms = arms_of()
    search = search_on(arms)
    for proposal in search.propose_several(1):
        for task in proposal.tasks:
            search.tell(proposal.arm, task, np.nan)
    [other] = search.propose_several(1)
    assert not search.learns
    search.tell(other.arm, 0, 0.5)
    assert search.learns
    assert search.standing().best == other.arm


def test_equal_scores_end_a_search_at_once() -> None:
    arms = arms_of()
    search = search_on(arms)
    asked = run(search, np.full((len(arms), 3), 0.5), 25)
    assert len(asked) == 25
    assert search.standing().confidence == 1


def test_a_search_is_done_after_two_confident_looks_and_not_before_it_learns() -> None:
    arms = arms_of()
    scores = scores_on(arms)
    search = search_on(arms, settings=SearchSettings(confidence=0.0))
    done_at = []
    for _ in range(40):
        asked = run(search, scores, 1)
        done_at += [search.n_scores] if search.done and asked else []
    assert done_at[0] == 20  # looks at 15 and 20, with 15 scores of the first arms
    never = search_on(arms, settings=SearchSettings(confidence=1.01))
    run(never, scores, 40)
    assert not never.done


def test_cheap_tasks_are_raced_first() -> None:
    arms = arms_of(6, 12)
    scores = scores_on(arms, 3)
    dear = search_on(arms, 3, Costs(np.array([100.0, 1.0, 100.0])))
    assert [task for _, task in run(dear, scores, 20)[15:]] == [1] * 5


def test_checkpoints_that_are_extracted_come_before_those_that_are_not() -> None:
    arms = arms_of(8, 12)
    scores = scores_on(arms, 3)
    costs = Costs(np.ones(3), extraction=1e6)
    search = search_on(arms, 3, costs)
    run(search, scores, 15)
    before = set(search.extracted)
    run(search, scores, 20)
    assert search.extracted == before


def test_a_proposal_among_thousands_of_arms_is_made() -> None:
    arms = make_arms([f"step{1000 * i}" for i in range(60)], range(25))
    scores = scores_on(arms, 8)
    search = search_on(arms, 8)
    run(search, scores, 60)
    assert 0 <= search.standing().confidence <= 1


def test_a_search_without_scores_has_no_standing() -> None:
    with pytest.raises(ValueError, match="told no score"):
        search_on(arms_of()).standing()
