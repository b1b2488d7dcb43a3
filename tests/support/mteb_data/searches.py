"""The shapes that data sets of retrieval and reranking have: each part is a configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from datasets import Dataset, DatasetDict

from tests.support.mteb_data.writing import N_TOPICS, Configs, Writer

_DOCUMENTS = 48
_QUERIES = 14


@dataclass(frozen=True)
class Search:
    """How a small search looks."""

    candidates: bool = False
    """Lists of documents to be ranked come with it."""
    titles: bool = False
    """Some documents have one."""
    subqueries: int = 1
    """Queries come in groups `q<i>_<j>`, as in MindSmallReranking and InstructIR."""
    instructions: bool = False
    graded: bool = False
    """Judgements of 0 and 2 too; one query has no relevant document."""

    def __call__(self, write: Writer, split: str = "test") -> Configs:
        topics = [i % N_TOPICS for i in range(_DOCUMENTS)]
        asked = [write.topic() for _ in range(_QUERIES)]
        about = {f"q{i}_{j}": t for i, t in enumerate(asked) for j in range(self.subqueries)}
        tables = {
            "corpus": self._corpus(write, topics),
            "queries": {
                "_id": [*about],
                "text": [" " + write.text(topic) for topic in about.values()],
            },
            "default": self._judgements(topics, about),
        }
        if self.candidates:
            tables["top_ranked"] = _candidates(topics, about)
        if self.instructions:
            said = [f"instruction {write.topic()}" for _ in about]
            tables["instruction"] = {"query-id": [*about], "instruction": said}
        return {
            name: DatasetDict({split: Dataset.from_dict(table)}) for name, table in tables.items()
        }

    def _corpus(self, write: Writer, topics: list[int]) -> dict[str, list[Any]]:
        table = {
            "_id": [f"d{i}" for i in range(_DOCUMENTS)],
            "text": [write.text(t) for t in topics],
        }
        if self.titles:
            table["title"] = ["" if i % 3 else write.text(t) for i, t in enumerate(topics)]
        return table

    def _judgements(self, topics: list[int], about: dict[str, int]) -> dict[str, list[Any]]:
        table: dict[str, list[Any]] = {"query-id": [], "corpus-id": [], "score": []}
        for number, (query, topic) in enumerate(about.items()):
            for place, document in enumerate(_of(topics, topic)):
                grade = (place % 3 if number else 0) if self.graded else 1
                for name, value in zip(table, (query, f"d{document}", grade), strict=True):
                    table[name].append(value)
        return table


def searches(*subsets: str, splits: tuple[str, ...], search: Search) -> Callable[[Writer], Configs]:
    """The same search, with other texts, for several subsets and splits."""

    def build(write: Writer) -> Configs:
        configs: Configs = {}
        for subset in subsets:
            for split in splits:
                for part, data in search(write, split).items():
                    name = f"{subset}-{'qrels' if part == 'default' else part}"
                    configs.setdefault(name, DatasetDict()).update(data)
        return configs

    return build


def _candidates(topics: list[int], about: dict[str, int]) -> dict[str, list[Any]]:
    """Documents of the query's topic and of the next one."""
    offered = [
        [f"d{d}" for d in _of(topics, topic) + _of(topics, (topic + 1) % N_TOPICS)]
        for topic in about.values()
    ]
    return {"query-id": [*about], "corpus-ids": offered}


def _of(topics: list[int], topic: int) -> list[int]:
    return [i for i, one in enumerate(topics) if one == topic][:5]
