"""Small data of the shape the hub has it in, for real mteb tasks, put in place of the hub.

The tasks' own loading and dataset_transform run on it. Texts are made of words of a few topics,
and labels are topics, so that scores are neither chance nor perfect.
"""

from __future__ import annotations

import random
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mteb
import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from mteb.abstasks import AbsTask
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from numpy.typing import NDArray

N_TOPICS = 4
HIDDEN = 16
_COMMON = [f"word{i}" for i in range(40)]
_TOPICS = [[f"topic{t}term{i}" for i in range(12)] for t in range(N_TOPICS)]

Configs = dict[str, DatasetDict]


class Writer:
    """Makes texts of topics, from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def topic(self) -> int:
        return self.random.randrange(N_TOPICS)

    def text(self, topic: int) -> str:
        words = self.random.choices(_COMMON, k=5) + self.random.choices(_TOPICS[topic], k=3)
        self.random.shuffle(words)
        return " ".join(words)

    def labelled(self, n: int) -> dict[str, list[Any]]:
        topics = [i % N_TOPICS for i in range(n)]
        return {"text": [self.text(topic) for topic in topics], "label": topics}

    def pairs(self, n: int) -> tuple[list[str], list[str], list[int]]:
        """Two texts each, and whether they are of one topic."""
        first = [self.topic() for _ in range(n)]
        same = [self.random.randrange(2) for _ in range(n)]
        second = [t if s else (t + 1) % N_TOPICS for t, s in zip(first, same, strict=True)]
        return [self.text(t) for t in first], [self.text(t) for t in second], same


def _classification(write: Writer) -> Configs:
    splits = {split: Dataset.from_dict(write.labelled(n)) for split, n in _SIZES.items()}
    return {"default": DatasetDict(splits)}


_SIZES = {"train": 160, "validation": 8, "test": 40}


def _class_labels(write: Writer) -> Configs:
    """Labels with names, as `datasets` features."""
    names = [f"topic {t}" for t in range(N_TOPICS)]
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    splits = {s: Dataset.from_dict(write.labelled(n), features) for s, n in _SIZES.items()}
    return {"default": DatasetDict(splits)}


def _languages(*configs: str) -> Callable[[Writer], Configs]:
    return lambda write: {config: _classification(write)["default"] for config in configs}


def _by_language(write: Writer) -> Configs:
    """All languages in one configuration, told apart by a column, as fast loading has it."""
    splits = {}
    for split, n in _SIZES.items():
        rows = write.labelled(2 * n)
        rows["label"] = [f"topic {label}" for label in rows["label"]]
        splits[split] = Dataset.from_dict({**rows, "lang": ["en"] * n + ["de"] * n})
    return {"default": DatasetDict(splits)}


def _pair_columns(write: Writer) -> Configs:
    """One row with three lists, as version 1 of the pair tasks has it."""
    first, second, same = write.pairs(80)
    row = {"sent1": [first], "sent2": [second], "labels": [same]}
    return {"default": DatasetDict(test=Dataset.from_dict(row))}


def _similarity(write: Writer) -> Configs:
    first, second, same = write.pairs(60)
    scores = [5 * s * write.random.random() for s in same]
    rows = {"sentence1": first, "sentence2": second, "score": scores}
    return {"default": DatasetDict(test=Dataset.from_dict(rows))}


def _similarity_by_language(write: Writer) -> Configs:
    data = _similarity(write)["default"]["test"]
    languages = ["en-en" if i % 3 else "en-de" for i in range(len(data))]
    return {"default": DatasetDict(test=data.add_column("lang", languages))}


def _cluster_sets(write: Writer) -> Configs:
    """Three sets; the last has one label, and mteb leaves it out."""
    sets = [write.labelled(n) for n in (50, 30)]
    sets.append({"text": [write.text(0) for _ in range(9)], "label": [0] * 9})
    rows = {"sentences": [s["text"] for s in sets], "labels": [s["label"] for s in sets]}
    return {"default": DatasetDict(test=Dataset.from_dict(rows))}


def _many_cluster_sets(write: Writer) -> Configs:
    """Enough for the newer clustering, which draws a sample of the texts."""
    sets = [write.labelled(1500) for _ in range(2)]
    labels = [[f"topic {label}" for label in s["label"]] for s in sets]
    rows = {"sentences": [s["text"] for s in sets], "labels": labels}
    return {"default": DatasetDict(test=Dataset.from_dict(rows))}


def _search(
    write: Writer, *, candidates: bool, titles: bool = False, subqueries: int = 0
) -> Configs:
    """Corpus, queries, judgements and perhaps candidates, each in its configuration."""
    topics = [i % N_TOPICS for i in range(48)]
    corpus = {"_id": [f"d{i}" for i in range(48)], "text": [write.text(t) for t in topics]}
    if titles:
        corpus["title"] = ["" if i % 3 else write.text(t) for i, t in enumerate(topics)]
    asked = [write.topic() for _ in range(14)]
    ids = [f"q{i}_{j}" for i in range(14) for j in range(max(subqueries, 1))]
    about = [asked[int(query[1:].split("_")[0])] for query in ids]
    queries = {"_id": ids, "text": [" " + write.text(topic) for topic in about]}
    judged = [(q, f"d{d}", 1) for q, t in zip(ids, about, strict=True) for d in _of(topics, t)]
    rows = [dict(zip(("query-id", "corpus-id", "score"), one, strict=True)) for one in judged]
    configs = {
        "corpus": DatasetDict(test=Dataset.from_dict(corpus)),
        "queries": DatasetDict(test=Dataset.from_dict(queries)),
        "default": DatasetDict(test=Dataset.from_list(rows)),
    }
    if candidates:
        offered = [[f"d{d}" for d in _of(topics, t) + _of(topics, (t + 1) % 4)] for t in about]
        ranked = {"query-id": ids, "corpus-ids": offered}
        configs["top_ranked"] = DatasetDict(test=Dataset.from_dict(ranked))
    return configs


def _of(topics: list[int], topic: int) -> list[int]:
    return [i for i, one in enumerate(topics) if one == topic][:5]


def _several_labels(write: Writer) -> Configs:
    def rows(n: int) -> dict[str, list[Any]]:
        data = write.labelled(n)
        extra = [[(t + 1) % N_TOPICS] if i % 3 == 0 else [] for i, t in enumerate(data["label"])]
        data["label"] = [[t, *e] for t, e in zip(data["label"], extra, strict=True)]
        return data

    splits = {split: Dataset.from_dict(rows(n)) for split, n in _SIZES.items()}
    return {"default": DatasetDict(splits)}


def _summaries(write: Writer) -> Configs:
    topics = [write.topic() for _ in range(8)]
    rows = {
        "text": [write.text(t) for t in topics],
        "human_summaries": [[write.text(t) for _ in range(3)] for t in topics],
        "machine_summaries": [[write.text((t + i) % 4) for i in range(4)] for t in topics],
        "relevance": [[5.0 - i + 0.1 * write.random.random() for i in range(4)] for _ in topics],
    }
    return {"default": DatasetDict(test=Dataset.from_dict(rows))}


def _translations(write: Writer) -> Configs:
    topics = [write.topic() for _ in range(30)]
    rows = {name: [write.text(t) for t in topics] for name in ("sentence1", "sentence2")}
    return {"default": DatasetDict(test=Dataset.from_dict(rows))}


TASKS: dict[str, Callable[[Writer], Configs]] = {
    "Banking77Classification": _class_labels,
    "AmazonCounterfactualClassification": _languages("en", "en-ext", "de", "ja"),
    "MassiveIntentClassification": _by_language,
    "ToxicConversationsClassification": _classification,
    "TwentyNewsgroupsClustering": _cluster_sets,
    "SprintDuplicateQuestions": _pair_columns,
    "TwitterSemEval2015": _pair_columns,
    "AskUbuntuDupQuestions": lambda write: _search(write, candidates=True),
    "MindSmallReranking": lambda write: _search(write, candidates=True, subqueries=2),
    "SciDocsRR": lambda write: _search(write, candidates=True, titles=True),
    "STSBenchmark": _similarity,
    "SICK-R": _similarity,
    "STS17": _similarity_by_language,
}
"""Of the 32 tasks of the Layer by Layer paper, all types."""

MORE_TASKS: dict[str, Callable[[Writer], Configs]] = {
    "SciFact": lambda write: _search(write, candidates=False, titles=True),
    "RedditClustering.v2": _many_cluster_sets,
    "CEDRClassification": _several_labels,
    "SummEvalSummarization.v2": _summaries,
    "BornholmBitextMining": _translations,
}
"""Of the types that the paper has not."""


class SmallHub:
    """Answers for the hub, with the data of the tasks above."""

    def __init__(self) -> None:
        self.data: dict[str, Configs] = {}
        for name, build in {**TASKS, **MORE_TASKS}.items():
            path = mteb.get_task(name).metadata.dataset["path"]
            self.data.setdefault(path, build(Writer(zlib.crc32(name.encode()))))

    def load_dataset(
        self, path: str, name: str | None = None, *, split: str | None = None, **_: Any
    ) -> DatasetDict | Dataset:
        if path not in self.data:
            raise ConnectionError(f"no network, and no small data for {path}")
        data = self.data[path][name or "default"]
        return data if split is None else data[split]

    def config_names(self, path: str, *_: Any, **__: Any) -> list[str]:
        return [*self.data[path]]

    def split_names(self, path: str, *, config_name: str, **_: Any) -> list[str]:
        return [*self.data[path][config_name]]


def use_small_hub(monkeypatch: pytest.MonkeyPatch) -> SmallHub:
    """Let mteb's own loading read the small data, and nothing else."""
    hub = SmallHub()
    loaders = "mteb.abstasks.retrieval_dataset_loaders"
    monkeypatch.setattr("mteb.abstasks.abstask.load_dataset", hub.load_dataset)
    monkeypatch.setattr(f"{loaders}.load_dataset", hub.load_dataset)
    monkeypatch.setattr(f"{loaders}.get_dataset_config_names", hub.config_names)
    monkeypatch.setattr(f"{loaders}.get_dataset_split_names", hub.split_names)
    return hub


def text_vectors(texts: list[str], layer: int = 0) -> NDArray[np.float32]:
    """(n, 16): sums of fixed random word vectors, other ones for every layer; a model's stead."""
    seeds = [[zlib.crc32(f"{layer} {word}".encode()) for word in text.split()] for text in texts]
    words = {seed: np.random.default_rng(seed).normal(size=HIDDEN) for s in seeds for seed in s}
    sums = [np.sum([words[seed] for seed in s], axis=0) for s in seeds]
    return np.array(sums, np.float32)


class VectorModel(AbsEncoder):
    """A model that returns `text_vectors`, and remembers its calls."""

    def __init__(self, layer: int = 0) -> None:
        self.layer = layer
        self.calls: list[tuple[str, str, str, list[str]]] = []
        self.mteb_model_meta = ModelMeta.create_empty(
            {"name": "tests/vectors", "similarity_fn_name": ScoringFunction.COSINE}
        )

    def encode(
        self,
        inputs: Any,
        *,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **_: Any,
    ) -> NDArray[np.float32]:
        texts = [text for batch in inputs for text in batch["text"]]
        kind = "" if prompt_type is None else prompt_type.value
        self.calls.append((hf_split, hf_subset, kind, texts))
        return text_vectors(texts, self.layer)


@contextmanager
def mteb_warnings_ignored() -> Iterator[None]:
    """mteb warns of superseded tasks, scikit-learn of fits that mteb cuts short."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def scores_of(model: AbsEncoder, task: AbsTask) -> dict[str, Any]:
    """All scores mteb gives: split -> list of entries, full precision."""
    with mteb_warnings_ignored():
        results = mteb.evaluate(
            model, task, cache=None, co2_tracker=False, encode_kwargs={"show_progress_bar": False}
        )
    scores: dict[str, Any] = results.task_results[0].scores
    return scores


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Every number and string of nested scores by its path; NaN as text, to compare equal."""
    if isinstance(value, dict):
        items = [(f"{path}.{key}", item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        items = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    else:
        return {path: "nan" if value != value else value}
    return {name: leaf for key, item in items for name, leaf in leaves(item, key).items()}
