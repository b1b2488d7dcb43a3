"""Small data of the shape the hub has it in, for real mteb tasks, put in place of the hub.

The tasks' own loading and dataset_transform run on it. Texts are made of words of a few topics,
and labels are topics, so that scores are neither chance nor perfect.
"""

from __future__ import annotations

from tests.support.mteb_data.hub import SmallHub, use_small_hub
from tests.support.mteb_data.tasks import MORE_TASKS, TASKS
from tests.support.mteb_data.vectors import (
    HIDDEN,
    VectorModel,
    leaves,
    mteb_warnings_ignored,
    scores_of,
    text_vectors,
)
from tests.support.mteb_data.writing import N_TOPICS, Configs, Writer

__all__ = [
    "HIDDEN",
    "MORE_TASKS",
    "N_TOPICS",
    "TASKS",
    "Configs",
    "SmallHub",
    "VectorModel",
    "Writer",
    "leaves",
    "mteb_warnings_ignored",
    "scores_of",
    "text_vectors",
    "use_small_hub",
]
