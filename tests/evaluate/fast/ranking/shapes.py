"""Generated reranking data of all the shapes that data comes in."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from datasets import Dataset


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
