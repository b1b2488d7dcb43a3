"""What ranking in blocks is made of, each part against mteb's own code for one query."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mteb._evaluators.retrieval_metrics import (
    calculate_retrieval_scores,
    confidence_scores,
    make_score_dict,
    nauc,
)
from mteb.similarity_functions import cos_sim

from actstore.evaluate.fast.ranking import blocks as blocks
from actstore.evaluate.fast.ranking.abstention import Abstention
from actstore.evaluate.fast.ranking.metrics import measures, scores_of
from actstore.evaluate.fast.ranking.places import Lists, Positives
from actstore.evaluate.fast.ranking.results import Ranked
from actstore.evaluate.fast.ranking.similarity import Similarity

SIZES = [*range(1, 41), 63, 64, 65, 127, 128, 129, 130, 255, 256, 300, 1000]


@pytest.mark.parametrize("hidden", [1, 7, 16, 50, 768, 1024])
def test_similarities_have_the_bits_of_one_product_for_each_query(hidden: int) -> None:
    draw = np.random.default_rng(hidden)
    texts, documents = (draw.normal(1, 1, (n, hidden)).astype(np.float32) for n in (5, 1000))
    documents[3] = 0
    similarity = Similarity(texts, documents)
    for n in SIZES:
        some = draw.integers(0, 1000, n, dtype=np.int32)
        candidates = torch.as_tensor(documents[some])
        expected = [cos_sim(torch.as_tensor(texts[i])[None], candidates) for i in (4, 0, 4)]
        assert torch.equal(similarity.of([4, 0, 4], some), torch.cat(expected)), n


@pytest.mark.parametrize("levels", [3, 10**6])
def test_confidence_has_the_bits_of_mtebs_for_each_query(levels: int) -> None:
    draw = np.random.default_rng(0)
    for n in SIZES:
        scores = (draw.integers(0, levels, (4, n)) / levels).astype(np.float32)
        found = blocks.confidence(scores)
        for row, own in enumerate(scores):
            heap: list[tuple[float, str]] = []
            for score in np.sort(own)[::-1].tolist():
                heapq.heappush(heap, (score, str(draw.random())))
            expected = confidence_scores([score for score, _ in heap])
            assert {name: values[row] for name, values in found.items()} == expected


small = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        arrays(np.float32, (3, n), elements=st.sampled_from([0.0, 0.5, 0.75, 1.0])),
        st.permutations(range(n)),
        st.lists(st.integers(-1, n - 1), min_size=1, max_size=3),
    )
)


@given(small)
def test_ranks_are_places_in_the_order_of_score_and_identifier(drawn: Any) -> None:
    scores, ids, places = drawn
    id_ranks = np.tile(np.array(ids, np.int32), (3, 1))
    found = blocks.ranks(scores, np.tile(np.array(places, np.int32), (3, 1)), id_ranks)
    for row, own in enumerate(scores.tolist()):
        order = sorted(range(len(own)), key=lambda i: (own[i], ids[i]), reverse=True)
        expected = [order.index(place) + 1 if place >= 0 else blocks.NEVER for place in places]
        assert found[row].tolist() == expected


@given(small)
def test_the_kept_order_is_that_of_torch_and_the_heap(drawn: Any) -> None:
    scores, ids, _ = drawn
    id_ranks = np.tile(np.array(ids, np.int32), (3, 1))
    found = blocks.kept_order(scores, id_ranks)
    for row, own in enumerate(scores):
        values, places = torch.topk(torch.tensor(own[None]), len(own), dim=1)
        heap: list[tuple[float, int]] = []
        for score, place in zip(values[0].tolist(), places[0].tolist(), strict=True):
            heapq.heappush(heap, (score, ids[place]))
        assert [ids[place] for place in found[row]] == [name for _, name in heap]


@settings(deadline=None)
@given(
    st.integers(1, 40).flatmap(
        lambda n: st.tuples(
            arrays(np.float64, n, elements=st.sampled_from([0.1, 0.2, 0.3]) | st.floats(0, 1)),
            arrays(np.float64, n, elements=st.sampled_from([0.0, 1 / 3, 0.7, 1.0])),
        )
    )
)
def test_abstention_scores_have_the_bits_of_mtebs(drawn: Any) -> None:
    confidence, values = drawn
    found = Abstention({"max": confidence, "std": -confidence}).scores("MAP@1", values)
    expected = [nauc(confidence, values), nauc(-confidence, values)]
    np.testing.assert_array_equal([*found.values()], expected)
    assert [*found] == ["nAUC_MAP@1_max", "nAUC_MAP@1_std"]


def test_abstention_scores_of_many_ties_have_the_bits_of_mtebs() -> None:
    draw = np.random.default_rng(0)
    for n in (1000, 50_000):
        confidence, values = draw.integers(0, 30, n) / 30, draw.random(n)
        found = Abstention({"max": confidence}).scores("P@1", values)
        assert found == {"nAUC_P@1_max": nauc(confidence, values)}


graded = st.lists(st.sampled_from([0, 0, 1, 2, 3, 7]), min_size=1, max_size=30)


@settings(deadline=None, max_examples=60)
@given(st.lists(graded, min_size=1, max_size=5), st.integers(0, 30), st.randoms())
def test_measures_have_the_bits_of_trec_eval(queries: Any, n_offered: int, rng: Any) -> None:
    cutoffs = [1, 3, 5, 10, 1000]
    qrels = {f"q{i}": {f"d{j}": g for j, g in enumerate(one)} for i, one in enumerate(queries)}
    offered = [rng.sample(range(40), n_offered) for _ in queries]
    run = {
        query: {f"d{j}": 1 - place / 64 for place, j in enumerate(one)}
        for query, one in zip(qrels, offered, strict=True)
    }
    upstream = calculate_retrieval_scores(run, qrels, cutoffs)
    ranked = _ranked(queries, offered)
    for measure, k, values in measures(ranked, cutoffs):
        if measure in TREC_EVAL:
            name = f"{TREC_EVAL[measure]}_{k}"
            assert values.tolist() == [upstream.all_scores[query][name] for query in qrels]
    expected = upstream._asdict()
    del expected["all_scores"]
    expected["_map"] = expected.pop("map")
    _assert_equal(scores_of(ranked, cutoffs), make_score_dict(**expected, task_scores={}))


TREC_EVAL = {
    "NDCG": "ndcg_cut",
    "MAP": "map_cut",
    "Recall": "recall",
    "P": "P",
    "HitRate": "success",
}


def _assert_equal(found: dict[str, float], expected: dict[str, float]) -> None:
    assert {*found} == {*expected}
    different = {name for name in found if not _same(found[name], expected[name])}
    assert not different


def _same(one: float, other: float) -> bool:
    return one == other or (one != one and other != other)


def _ranked(queries: list[list[int]], offered: list[list[int]]) -> Ranked:
    """Results in which each query has the documents offered in that order."""
    relevant = [[j for j, grade in enumerate(one) if grade > 0] for one in queries]
    gains = [one[j] for one, some in zip(queries, relevant, strict=True) for j in some]
    offsets = np.append(0, np.cumsum([len(some) for some in relevant])).astype(np.int64)
    documents = np.array([j for some in relevant for j in some], np.int32)
    positives = Positives(Lists(offsets, documents), np.array(gains, np.int64))
    ranked = Ranked.empty(np.arange(len(queries), dtype=np.int32), positives)
    for query, one in enumerate(offered):
        scores = {j: 1 - place / 64 for place, j in enumerate(one)}
        ranked.put_scores(query, scores, np.arange(40, dtype=np.int32))
    return ranked
