"""Quickened reranking gives mteb's own scores, whatever the candidates and judgements are like."""

from __future__ import annotations

import copy
import random
import zlib
from dataclasses import dataclass
from typing import Any

import mteb
import numpy as np
import pytest
from datasets import Dataset
from mteb.abstasks import AbsTask, AbsTaskRetrieval
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.types import PromptType
from numpy.typing import NDArray

from actstore.evaluate.fast.reranking import quicken_reranking
from tests.support.mteb_data import VectorModel, leaves, mteb_warnings_ignored, scores_of

RERANKING = [
    "AskUbuntuDupQuestions",
    "MindSmallReranking",
    "SciDocsRR",
    "StackOverflowDupQuestions",
]


class HashModel(AbsEncoder):
    """Vectors drawn anew for every text; rounded ones give equal scores for unlike texts."""

    def __init__(self, hidden: int = 24, decimals: int = 8, constant: bool = False) -> None:
        self.hidden, self.decimals, self.constant = hidden, decimals, constant
        self.asked: list[tuple[PromptType, list[str]]] = []
        self.mteb_model_meta = ModelMeta.create_empty(
            {"name": "tests/hash", "similarity_fn_name": ScoringFunction.COSINE}
        )

    def encode(self, inputs: Any, *, prompt_type: Any = None, **_: Any) -> NDArray[np.float32]:
        texts = [text for batch in inputs for text in batch["text"]]
        self.asked.append((prompt_type, texts))
        return np.array([self.vector(text) for text in texts], np.float32)

    def vector(self, text: str) -> NDArray[np.float64]:
        draw = np.random.default_rng(zlib.crc32(text.encode()))
        mean = np.full(self.hidden, 3.0)
        return (
            mean if self.constant else (mean + draw.normal(size=self.hidden)).round(self.decimals)
        )


@dataclass(frozen=True)
class Shape:
    """What generated data is like."""

    n_documents: int = 60
    n_texts: int = 40
    """Of documents; fewer than documents make equal scores."""
    groups: int = 12
    sizes: tuple[int, ...] = (1, 2, 3, 4, 7, 20)
    """Of lists of candidates."""
    grades: tuple[int, ...] = (1,)
    repeats: bool = False
    """Whether candidates name documents twice."""
    mixed: bool = False
    """Whether queries of a group have candidates or judgements of their own."""
    gaps: bool = False
    """Whether candidates, judgements and relevant documents are missing here and there."""


SHAPES = {
    "as in Mind": Shape(),
    "equal scores": Shape(n_texts=6),
    "graded": Shape(grades=(0, 1, 2, 5)),
    "repeated candidates": Shape(n_texts=12, repeats=True),
    "groups of unlike queries": Shape(mixed=True),
    "with gaps": Shape(grades=(0, 0, 1, 3), gaps=True),
    "all at once": Shape(n_texts=9, grades=(0, 1, 1, 4), repeats=True, mixed=True, gaps=True),
    "long lists": Shape(n_documents=400, n_texts=380, groups=3, sizes=(99, 100, 101, 300)),
    "longer than mteb keeps": Shape(n_documents=1100, n_texts=900, groups=2, sizes=(1001, 1100)),
}


class Generator:
    """Draws the data of a task."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self.shape, self.random = shape, random.Random(seed)
        names = [*"ÄZaz~", *(f"{kind}{i}" for kind in ("N", "n", "é", "Né") for i in range(400))]
        self.documents = self.random.sample(names, shape.n_documents)

    def split(self) -> dict[str, Any]:
        texts = [f"text {self.random.randrange(self.shape.n_texts)}" for _ in self.documents]
        corpus = {
            "id": self.documents,
            "text": texts,
            "title": ["t" * (i % 2) for i in range(len(texts))],
        }
        queries, judged, ranked = [], {}, {}
        for group in range(self.shape.groups):
            for query, candidates, judgements in self.group(group):
                queries.append({"id": query, "text": f" asked {self.random.randrange(9)}"})
                judged[query] = judgements
                if candidates is not None:
                    ranked[query] = candidates
        self.random.shuffle(queries)
        judged = dict(self.random.sample(list(judged.items()), len(judged)))
        data = {"corpus": Dataset.from_dict(corpus), "queries": Dataset.from_list(queries)}
        return {**data, "relevant_docs": judged, "top_ranked": ranked}

    def group(self, group: int) -> list[tuple[str, list[str] | None, dict[str, int]]]:
        candidates = self.candidates()
        judgements, members = self.judgements(candidates), []
        for i in range(self.random.choice([1, 2, 5])):
            if self.shape.mixed and self.random.random() < 0.4:
                candidates = self.candidates()
            if self.shape.mixed and self.random.random() < 0.4:
                judgements = self.judgements(candidates)
            given = None if self.missing() else [] if self.missing() else list(candidates)
            members.append((f"{group // 2}_{group}_{i}", given, dict(judgements)))
        return members

    def candidates(self) -> list[str]:
        n = self.random.choice(self.shape.sizes)
        drawn = self.random.choices if self.shape.repeats else None
        return drawn(self.documents, k=n) if drawn else self.random.sample(self.documents, n)

    def judgements(self, candidates: list[str]) -> dict[str, int]:
        among = sorted({*candidates, *self.random.sample(self.documents, 2)})
        n = self.random.randint(0 if self.shape.gaps else 1, min(len(among), 12))
        judged = {
            one: self.random.choice(self.shape.grades) for one in self.random.sample(among, n)
        }
        return {**judged, "in no corpus": 1} if self.missing() else judged

    def missing(self) -> bool:
        return self.shape.gaps and self.random.random() < 0.15


def task_with(name: str, data: dict[str, Any], splits: tuple[str, ...] = ("test",)) -> AbsTask:
    with mteb_warnings_ignored():
        task = mteb.get_task(name)
    task.dataset = {"default": {split: dict(data) for split in splits}}
    task.data_loaded = True
    return task


def both(name: str, data: dict[str, Any], model: AbsEncoder) -> tuple[Any, Any]:
    """Leaves of mteb's scores and of ours, on copies of the data."""
    quick = quicken_reranking(task_with(name, data))
    plan = quick._split(quick.dataset["default"]["test"], "default", "test").plan
    assert plan is not None
    ours = leaves(scores_of(model, quick))
    return leaves(scores_of(model, task_with(name, data))), ours


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", SHAPES.values(), ids=[*SHAPES])
@pytest.mark.parametrize("name", ["MindSmallReranking", "AskUbuntuDupQuestions"])
def test_every_leaf_is_mtebs_own(name: str, shape: Shape, seed: int) -> None:
    data = Generator(shape, seed).split()
    if name == "MindSmallReranking":  # merging needs candidates and judgements of all queries
        data["relevant_docs"] = {q: d or {"z": 1} for q, d in data["relevant_docs"].items()}
    expected, found = both(name, data, HashModel())
    assert found == expected
