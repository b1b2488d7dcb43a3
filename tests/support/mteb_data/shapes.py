"""The shapes that data sets of classification, clustering, pairs and other kinds have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from tests.support.mteb_data.writing import N_TOPICS, Configs, Writer

_SIZES = {"train": 80, "validation": 16, "test": 24}

Rows = dict[str, list[Any]]


def one_config(splits: dict[str, Dataset]) -> Configs:
    return {"default": DatasetDict(splits)}


def classification(write: Writer) -> Configs:
    return one_config({s: Dataset.from_dict(write.labelled(n)) for s, n in _SIZES.items()})


def yes_or_no(write: Writer) -> Configs:
    """Two labels: mteb adds average precision."""
    return one_config({s: Dataset.from_dict(write.labelled(n, 2)) for s, n in _SIZES.items()})


def class_labels(write: Writer) -> Configs:
    """Labels with names, as `datasets` features."""
    names = [f"topic {t}" for t in range(N_TOPICS)]
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    splits = {s: Dataset.from_dict(write.labelled(n), features) for s, n in _SIZES.items()}
    return one_config(splits)


def rare_labels(write: Writer) -> Configs:
    """Labels with fewer texts than mteb draws, and one that is never evaluated."""
    splits = {}
    for split, n in _SIZES.items():
        rows = write.labelled(n)
        rows["label"][:3] = [N_TOPICS, N_TOPICS, N_TOPICS + (split == "train")]
        splits[split] = Dataset.from_dict(rows)
    return one_config(splits)


def languages(
    *configs: str, shape: Callable[[Writer], Configs] = classification
) -> Callable[[Writer], Configs]:
    """The same shape in several configurations."""
    return lambda write: {config: shape(write)["default"] for config in configs}


def by_language(write: Writer) -> Configs:
    """All languages in one configuration, told apart by a column, as fast loading has it."""
    splits = {}
    for split, n in _SIZES.items():
        rows = write.labelled(2 * n)
        rows["label"] = [f"topic {label}" for label in rows["label"]]
        splits[split] = Dataset.from_dict({**rows, "lang": ["en"] * n + ["de"] * n})
    return one_config(splits)


def several_labels(write: Writer) -> Configs:
    def rows(n: int) -> Rows:
        data = write.labelled(n)
        extra = [[(t + 1) % N_TOPICS] if i % 3 == 0 else [] for i, t in enumerate(data["label"])]
        data["label"] = [[t, *e] for t, e in zip(data["label"], extra, strict=True)]
        return data

    return one_config({split: Dataset.from_dict(rows(n)) for split, n in _SIZES.items()})


def values(write: Writer) -> Configs:
    """Texts with a number each, to be predicted."""

    def rows(n: int) -> Rows:
        data = write.labelled(n)
        numbers = [label + write.random.random() for label in data["label"]]
        return {"text": data["text"], "value": numbers}

    return one_config({split: Dataset.from_dict(rows(n)) for split, n in _SIZES.items()})


def papers(write: Writer) -> Configs:
    """Titles and abstracts in one split, for cross-validation."""
    rows = write.labelled(60, 2)
    texts = {"title": rows["text"], "abstract": [write.text(t) for t in rows["label"]]}
    data = Dataset.from_dict({**texts, "label": rows["label"]})
    return {"biomimicry": DatasetDict(evaluation=data)}


def pair_lists(write: Writer) -> Configs:
    """One row with three lists, as version 1 of the pair tasks has it."""
    first, second, same = write.pairs(80)
    row = {"sent1": [first], "sent2": [second], "labels": [same]}
    return one_config({"test": Dataset.from_dict(row)})


def pair_rows(write: Writer) -> Configs:
    """A row for each pair, in two splits."""
    splits = {}
    for split, n in (("validation", 30), ("test", 50)):
        rows = dict(zip(("sentence1", "sentence2", "labels"), write.pairs(n), strict=True))
        splits[split] = Dataset.from_dict(rows)
    return one_config(splits)


def similarity(write: Writer) -> Configs:
    first, second, same = write.pairs(60)
    scores = [5 * s * write.random.random() for s in same]
    rows = {"sentence1": first, "sentence2": second, "score": scores}
    return one_config({"test": Dataset.from_dict(rows)})


def similarity_by_language(write: Writer) -> Configs:
    data = similarity(write)["default"]["test"]
    pairs = ["en-en" if i % 3 else "en-de" for i in range(len(data))]
    return one_config({"test": data.add_column("lang", pairs)})


def cluster_sets(write: Writer) -> Configs:
    """Three sets; the last has one label, and mteb leaves it out."""
    sets = [write.labelled(n) for n in (50, 30)]
    sets.append({"text": [write.text(0) for _ in range(9)], "label": [0] * 9})
    rows = {"sentences": [s["text"] for s in sets], "labels": [s["label"] for s in sets]}
    return one_config({"test": Dataset.from_dict(rows)})


def named_cluster_sets(write: Writer) -> Configs:
    """Labels are words; sets of different numbers of labels."""
    sets = [write.labelled(40, n) for n in (2, 4)]
    labels = [[f"topic {label}" for label in s["label"]] for s in sets]
    rows = {"sentences": [s["text"] for s in sets], "labels": labels}
    return one_config({"test": Dataset.from_dict(rows)})


def many_cluster_sets(write: Writer) -> Configs:
    """Enough for the newer clustering, which draws a sample of the texts."""
    sets = [write.labelled(1500) for _ in range(2)]
    labels = [[f"topic {label}" for label in s["label"]] for s in sets]
    rows = {"sentences": [s["text"] for s in sets], "labels": labels}
    return one_config({"test": Dataset.from_dict(rows)})


def label_paths(write: Writer) -> Configs:
    """A text a row with labels of two levels; some have the first only."""
    rows = write.labelled(200)
    paths = [[f"topic {label % 2}", f"topic {label}"] for label in rows["label"]]
    paths[::5] = [path[:1] for path in paths[::5]]
    return one_config({"test": Dataset.from_dict({"sentences": rows["text"], "labels": paths})})


def summaries(write: Writer) -> Configs:
    topics = [write.topic() for _ in range(8)]
    rows = {
        "text": [write.text(t) for t in topics],
        "human_summaries": [[write.text(t) for _ in range(3)] for t in topics],
        "machine_summaries": [[write.text((t + i) % 4) for i in range(4)] for t in topics],
        "relevance": [[5.0 - i + 0.1 * write.random.random() for i in range(4)] for _ in topics],
    }
    return one_config({"test": Dataset.from_dict(rows)})


def translations(write: Writer) -> Configs:
    return one_config({"test": Dataset.from_dict(_translated(write))})


def translations_by_language(write: Writer) -> Configs:
    parts = {pair: _translated(write) for pair in ("de-en", "fr-en")}
    rows = {name: [t for part in parts.values() for t in part[name]] for name in parts["de-en"]}
    pairs = [pair for pair, part in parts.items() for _ in part["sentence1"]]
    return one_config({"test": Dataset.from_dict({**rows, "lang": pairs})})


def _translated(write: Writer) -> Rows:
    topics = [write.topic() for _ in range(30)]
    return {name: [write.text(t) for t in topics] for name in ("sentence1", "sentence2")}
