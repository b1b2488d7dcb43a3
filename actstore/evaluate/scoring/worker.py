"""What happens inside an evaluation process: one layer of one task at a time.

Scores depend on more than vectors: on the number of BLAS threads, on a visible GPU, on the random
generators of the task object. All are fixed here.
"""

from __future__ import annotations

import logging
import os
import signal
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import mteb
import torch
from mteb._set_seed import _set_seed
from mteb.abstasks import AbsTask
from mteb.results import TaskResult

from actstore.evaluate.collection.bundle import thaw
from actstore.evaluate.scoring.encoder import StoreEncoder, TaskTexts
from actstore.evaluate.suites.selection import TaskSelection
from actstore.store import Store, open_store

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "TQDM_DISABLE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Unit:
    """One score to compute."""

    task: TaskSelection
    task_type: str
    model: str
    checkpoint: str
    layer: int
    pooling: str
    inputs: str
    """Digest of everything the score depends on."""

    def entries(self) -> list[tuple[str, str, str]]:
        """The (split, subset, digest) of the scores it gives."""
        entries = [(split, subset) for split in self.task.splits for subset in self.task.subsets]
        return [(split, subset, self.inputs) for split, subset in entries]

    def __str__(self) -> str:
        return f"{self.task.name} at {self.checkpoint}, layer {self.layer}, pooling {self.pooling}"


@dataclass(frozen=True)
class UnitOutcome:
    """A result of mteb's, or why there is none."""

    unit: Unit
    result: TaskResult | None
    error: str = ""
    trace: str = ""


@contextmanager
def worker_environment() -> Iterator[None]:
    """Sets what a new process must find before it imports numpy, and puts it back."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def start_worker(store_url: str) -> None:
    """Prepare a new process. Ctrl-C is left to the parent, which ends its workers."""
    global _evaluator
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    _evaluator = Evaluator(open_store(store_url))


def evaluate_in_worker(unit: Unit) -> UnitOutcome:
    """Score a unit with this process's evaluator. Errors come back as text."""
    assert _evaluator is not None
    try:
        return UnitOutcome(unit, _evaluator.evaluate(unit))
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        return UnitOutcome(unit, None, message, traceback.format_exc())


class Evaluator:
    """Scores units; the task that was last used stays loaded."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._loaded: tuple[TaskSelection, AbsTask, TaskTexts] | None = None

    def evaluate(self, unit: Unit) -> TaskResult:
        """mteb's result for one layer, the same as for a model that returns its vectors."""
        task, texts = self._task(unit.task)
        encoder = StoreEncoder(
            self.store,
            unit.model,
            checkpoint=unit.checkpoint,
            layer=unit.layer,
            pooling=unit.pooling,
            texts=texts,
        )
        task.rng_state, task.np_rng = _set_seed(task.seed)  # as in a task object just made
        results = mteb.evaluate(
            encoder,
            task,
            cache=None,
            co2_tracker=False,
            encode_kwargs={"show_progress_bar": False},
            show_progress_bar=False,
        )
        return results.task_results[0]

    def _task(self, selection: TaskSelection) -> tuple[AbsTask, TaskTexts]:
        if self._loaded is None or self._loaded[0] != selection:
            self._loaded = None
            bundle = self.store.task(selection.name)
            shape = bundle.manifest["shape"]
            task = thaw(selection.name, shape, bundle.table, selection.splits, selection.subsets)
            self._loaded = selection, task, TaskTexts.of(self.store, selection.name)
        return self._loaded[1:]


_evaluator: Evaluator | None = None
"""Of this process; set by `start_worker`."""
