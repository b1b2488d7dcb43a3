"""Data of the shape and size that tasks have, as mteb's own statistics of the real data tell.

Texts are `<topic> <number>`, and labels follow topics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict

Stats = Mapping[str, Any]
Numbers = np.random.Generator

_TOPICS = 1000
"""Topics of pairs and searches."""
_SETS = {
    "ArxivClusteringS2S": (31, 130),
    "BiorxivClusteringS2S": (10, 26),
    "MedrxivClusteringS2S": (10, 51),
    "RedditClustering": (25, 50),
    "StackExchangeClustering": (25, 50),
    "TwentyNewsgroupsClustering": (10, 20),
}
"""How many sets a task clusters and labels in each, which the statistics leave out."""
_HIGHEST_GRADE = 5.0
_OTHER_SIDE = 1 << 23
"""Numbers from here on are of second texts and of queries."""
_SIDES = ("sentence1", "sentence2")


def classification(stats: Mapping[str, Stats], scale: float, rng: Numbers) -> DatasetDict:
    """Rows of text and label, each label as often as in the real data.

    stats: of each split.
    """
    names = [*dict.fromkeys(name for one in stats.values() for name in _counts(one))]
    first, splits = 0, {}
    for split, one in stats.items():
        counts = {name: max(2, round(scale * n)) for name, n in _counts(one).items()}
        topics = np.repeat([names.index(name) for name in counts], [*counts.values()])
        topics = rng.permutation(topics)
        texts = [f"{topic} {first + i}" for i, topic in enumerate(topics)]
        splits[split] = Dataset.from_dict({"text": texts, "label": _labels(names, topics)})
        first += len(texts)
    return DatasetDict(splits)


def _counts(stats: Stats) -> dict[str, int]:
    labels = stats["label_statistics"]["labels"]
    return {name: entry["count"] for name, entry in labels.items()}


def _labels(names: Sequence[str], topics: Sequence[int]) -> list[Any]:
    """Numbers where the names are numbers."""
    numeric = all(name.lstrip("-").isdigit() for name in names)
    values = [int(name) if numeric else name for name in names]
    return [values[topic] for topic in topics]


def cluster_sets(name: str, stats: Stats, scale: float, rng: Numbers) -> DatasetDict:
    """A row a set: its texts and labels; texts come in several sets as often as in the data."""
    n_sets, n_labels = _SETS[name]
    size = max(4 * n_labels, round(scale * stats["num_samples"] / n_sets))
    known = int(stats["label_statistics"]["unique_labels"])
    per_label = max(4, round(scale * stats["text_statistics"]["unique_texts"] / known))
    used = np.zeros(known, np.int64)
    rows: dict[str, list[Any]] = {"sentences": [], "labels": []}
    for _ in range(n_sets):
        topics = np.sort(rng.choice(rng.choice(known, n_labels, replace=False), size))
        turns = used[topics] + np.arange(size) - np.searchsorted(topics, topics)
        used += np.bincount(topics, minlength=known)
        texts = [f"{t} {t + known * i}" for t, i in zip(topics, turns % per_label, strict=True)]
        order = rng.permutation(size)
        rows["sentences"].append([texts[i] for i in order])
        rows["labels"].append([f"label {topics[i]}" for i in order])
    return DatasetDict(test=Dataset.from_dict(rows))


def clustered(stats: Stats, scale: float, rng: Numbers) -> DatasetDict:
    """A row a text, with its label."""
    known = int(stats["labels_statistics"]["unique_labels"])
    topics = rng.integers(known, size=max(4 * known, round(scale * stats["num_samples"])))
    texts = [f"{topic} {i}" for i, topic in enumerate(topics)]
    return DatasetDict(test=Dataset.from_dict({"sentences": texts, "labels": topics.tolist()}))


def pairs(stats: Stats, scale: float, rng: Numbers) -> DatasetDict:
    """One row of three lists; texts repeat as often as in the real data."""
    labels = stats["labels_statistics"]["labels"]
    share = labels["1"]["count"] / stats["num_samples"]
    n = max(50, round(scale * stats["num_samples"]))
    same = (np.arange(n) < max(10, share * n)).astype(int)
    first, second = _two_sides(same, _unique(stats, scale), rng)
    row = {"sentence1": [first], "sentence2": [second], "labels": [same.tolist()]}
    return DatasetDict(test=Dataset.from_dict(row))


def similarities(stats: Stats, scale: float, rng: Numbers) -> DatasetDict:
    """Two texts and a grade a row; texts of one topic have the higher grades."""
    n = max(50, round(scale * stats["num_samples"]))
    same = rng.integers(2, size=n)
    first, second = _two_sides(same, _unique(stats, scale), rng)
    grades = _HIGHEST_GRADE * (same + rng.random(n)) / 2
    rows = {"sentence1": first, "sentence2": second, "score": grades.tolist()}
    return DatasetDict(test=Dataset.from_dict(rows))


def _unique(stats: Stats, scale: float) -> tuple[int, int]:
    both = (stats[f"text{side}_statistics"]["unique_texts"] for side in (1, 2))
    first, second = (max(25, round(scale * n)) for n in both)
    return first, second


def _two_sides(
    same: Sequence[int], unique: tuple[int, int], rng: Numbers
) -> tuple[list[str], list[str]]:
    """Texts of pairs that are of one topic where `same` is 1."""
    known = min(_TOPICS, *unique)
    first = rng.integers(known, size=len(same))
    second = np.where(same, first, rng.integers(known, size=len(same)))
    sides = []
    for place, (topics, n) in enumerate(zip((first, second), unique, strict=True)):
        numbers = topics + known * rng.integers(max(1, n // known), size=len(topics))
        numbers += place * _OTHER_SIDE
        sides.append([f"{t} {i}" for t, i in zip(topics, numbers, strict=True)])
    return sides[0], sides[1]


def search(stats: Stats, scale: float, rng: Numbers, *, offers: bool) -> dict[str, Any]:
    """Corpus, queries, judgements, and, where it offers them, candidates to be ranked."""
    n_queries, n_documents = (max(40, round(scale * n)) for n in _search_sizes(stats))
    n_relevant = max(1, round(stats["relevant_docs_statistics"]["average_relevant_docs_per_query"]))
    about = rng.integers(_TOPICS, size=n_queries)
    right = [_documents(topic, n_documents)[:n_relevant] for topic in about]
    ids = [f"q{i}" for i in range(n_queries)]
    return {
        "corpus": Dataset.from_dict(
            {
                "id": [f"d{i}" for i in range(n_documents)],
                "title": [""] * n_documents,
                "text": [f"{i % _TOPICS} {i}" for i in range(n_documents)],
            }
        ),
        "queries": Dataset.from_dict(
            {"id": ids, "text": [f"{t} {_OTHER_SIDE + i}" for i, t in enumerate(about)]}
        ),
        "relevant_docs": dict(zip(ids, (dict.fromkeys(one, 1) for one in right), strict=True)),
        "top_ranked": _candidates(stats, ids, right, n_documents, rng) if offers else None,
    }


def _documents(topic: int, n_documents: int) -> list[str]:
    """The ids of the documents of a topic, of another one where it has none."""
    return [f"d{i}" for i in range(topic % n_documents, n_documents, _TOPICS)]


def _candidates(
    stats: Stats, ids: Sequence[str], right: Sequence[list[str]], n_documents: int, rng: Numbers
) -> dict[str, list[str]]:
    """The relevant documents of each query and others, none twice."""
    n_offered = round(stats["top_ranked_statistics"]["average_top_ranked_per_query"])
    offered = {}
    for query, relevant in zip(ids, right, strict=True):
        others = [f"d{i}" for i in rng.choice(n_documents, n_offered, replace=False)]
        offered[query] = [*dict.fromkeys([*relevant, *others])][:n_offered]
    return offered


def _search_sizes(stats: Stats) -> tuple[int, int]:
    """Queries and documents; the statistics of some tasks tell the queries by their candidates."""
    if "num_queries" in stats:
        return stats["num_queries"], stats["num_documents"]
    offered = stats["top_ranked_statistics"]
    queries = round(offered["num_top_ranked"] / offered["average_top_ranked_per_query"])
    return queries, stats["num_samples"] - queries


def several_labels(stats: Mapping[str, Stats], scale: float, rng: Numbers) -> DatasetDict:
    """Rows of a text and up to two labels, of which the first is its topic."""
    first, splits = 0, {}
    for split, one in stats.items():
        n = max(80, round(scale * one["num_samples"]))
        known = int(one["label_statistics"]["unique_labels"])
        topics = rng.integers(known, size=n)
        many = zip(topics.tolist(), rng.integers(3, size=n).tolist(), strict=True)
        labels = [[topic, (topic + 1) % known][:n_labels] for topic, n_labels in many]
        texts = [f"{topic} {first + i}" for i, topic in enumerate(topics)]
        splits[split] = Dataset.from_dict({"text": texts, "label": labels})
        first += n
    return DatasetDict(splits)


def values(stats: Mapping[str, Stats], scale: float, rng: Numbers) -> DatasetDict:
    """Rows of a text and a number, which grows with its topic."""
    first, splits = 0, {}
    for split, one in stats.items():
        n = max(80, round(scale * one["num_samples"]))
        topics = rng.integers(20, size=n)
        texts = [f"{topic} {first + i}" for i, topic in enumerate(topics)]
        numbers = (topics + rng.random(n)).tolist()
        splits[split] = Dataset.from_dict({"text": texts, "value": numbers})
        first += n
    return DatasetDict(splits)


def summaries(stats: Stats, scale: float, rng: Numbers) -> DatasetDict:
    """Texts with 11 summaries of people, 16 of machines; the better are of its topic."""
    n = max(10, round(scale * stats["num_samples"]))
    topics, numbers = rng.integers(_TOPICS - 1, size=n), iter(range(100 * n))
    worse = [i % 3 == 0 for i in range(16)]
    rows = {
        "text": [f"{t} {next(numbers)}" for t in topics],
        "human_summaries": [[f"{t} {next(numbers)}" for _ in range(11)] for t in topics],
        "machine_summaries": [[f"{t + w} {next(numbers)}" for w in worse] for t in topics],
        "relevance": [[4.0 - 2 * w + float(rng.random()) for w in worse] for _ in topics],
    }
    return DatasetDict(test=Dataset.from_dict(rows))


def translations(stats: Stats, scale: float, rng: Numbers) -> DatasetDict:
    """Two texts of one topic a row."""
    n = max(40, round(scale * stats["num_samples"]))
    sides = {side: [f"{i} {place * n + i}" for i in range(n)] for place, side in enumerate(_SIDES)}
    return DatasetDict(test=Dataset.from_dict(sides))
