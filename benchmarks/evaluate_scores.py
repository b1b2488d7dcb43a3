"""Scores of tasks with the CPU time they take, and how far two of them differ."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import datasets
import mteb
import numpy as np
import torch
from mteb._set_seed import _set_seed
from mteb.abstasks import AbsTask
from mteb.models.abs_encoder import AbsEncoder


@dataclass(frozen=True)
class Scored:
    """What mteb makes of a task, and the CPU time of it."""

    scores: dict[str, Any]
    """Split -> list of entries, full precision."""
    seconds: float

    def main_score(self) -> float:
        entries = [entry["main_score"] for found in self.scores.values() for entry in found]
        return float(np.mean(entries))


def score(model: AbsEncoder, task: AbsTask) -> Scored:
    """A task's scores as of a task object just made."""
    task.rng_state, task.np_rng = _set_seed(task.seed)
    began = time.process_time()
    result = mteb.evaluate(
        model,
        task,
        cache=None,
        co2_tracker=False,
        encode_kwargs={"show_progress_bar": False},
        show_progress_bar=False,
    )
    return Scored(result.task_results[0].scores, time.process_time() - began)


def largest_difference(first: Any, second: Any) -> float:
    """Of two nested scores of the same shape; infinite for texts or NaN on one side that differ."""
    if isinstance(first, Mapping):
        assert first.keys() == second.keys()
        return max((largest_difference(first[key], second[key]) for key in first), default=0.0)
    if isinstance(first, (list, tuple)):
        pairs = zip(first, second, strict=True)
        return max((largest_difference(one, other) for one, other in pairs), default=0.0)
    if first == second or (first != first and second != second):
        return 0.0
    both = isinstance(first, (int, float)) and isinstance(second, (int, float))
    return abs(first - second) if both and first == first and second == second else float("inf")


@contextmanager
def one_quiet_thread() -> Iterator[None]:
    """CPU time is counted: threads that wait for each other would be part of it.

    The BLAS library must have been told before it was imported: OMP_NUM_THREADS=1.
    """
    if os.environ.get("OMP_NUM_THREADS") != "1":
        raise SystemExit("Run this with OMP_NUM_THREADS=1: CPU time of one thread is compared.")
    datasets.disable_progress_bars()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)
