"""Texts of topics, from a seed."""

from __future__ import annotations

import random
from typing import Any

from datasets import DatasetDict

N_TOPICS = 4
_COMMON = [f"word{i}" for i in range(40)]
_TOPICS = [[f"topic{t}term{i}" for i in range(12)] for t in range(N_TOPICS)]
_REPEATED = 16
"""One text in so many is one that was written before: data sets have duplicates."""

Configs = dict[str, DatasetDict]
"""What a data set of the hub holds: splits by configuration."""


class Writer:
    """Makes texts of topics, from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._written: list[list[str]] = [[] for _ in range(N_TOPICS)]

    def topic(self) -> int:
        return self.random.randrange(N_TOPICS)

    def text(self, topic: int) -> str:
        before = self._written[topic]
        if before and not self.random.randrange(_REPEATED):
            return self.random.choice(before)
        words = self.random.choices(_COMMON, k=5) + self.random.choices(_TOPICS[topic], k=3)
        self.random.shuffle(words)
        before.append(" ".join(words))
        return before[-1]

    def labelled(self, n: int, n_labels: int = N_TOPICS) -> dict[str, list[Any]]:
        """n texts, and of which topic each is."""
        topics = [i % n_labels for i in range(n)]
        return {"text": [self.text(topic) for topic in topics], "label": topics}

    def pairs(self, n: int) -> tuple[list[str], list[str], list[int]]:
        """Two texts each, and whether they are of one topic."""
        first = [self.topic() for _ in range(n)]
        same = [self.random.randrange(2) for _ in range(n)]
        second = [t if s else (t + 1) % N_TOPICS for t, s in zip(first, same, strict=True)]
        return [self.text(t) for t in first], [self.text(t) for t in second], same
