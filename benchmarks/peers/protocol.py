"""What the programs of all peers share: the task they are given and the outcome they print.

Only the standard library, numpy and torch: every peer's environment has them.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.clock import cpu_seconds

VECTORS = "vectors.npy"
"""In a task's folder: (layer, text, hidden) in float32, the means of the raw states."""

_STATUS = Path("/proc/self/status")
_CLEAR_PEAK = Path("/proc/self/clear_refs"), "5"
"""Writing this makes the kernel count the peak anew: proc_pid_clear_refs(5)."""


@dataclass(frozen=True)
class Task:
    """What a peer is asked to run."""

    model: Path
    """A `save_pretrained` folder with its tokenizer."""
    texts: Path
    """A JSON list of strings, in order of arrival."""
    folder: Path
    """Where it may write."""
    max_tokens: int
    threads: int
    batch_texts: int = 32
    keep_states: bool = False
    """Keep every layer's token states of a batch before anything is pooled, as examples do."""

    def read_texts(self) -> list[str]:
        texts: list[str] = json.loads(self.texts.read_text("utf-8"))
        return texts


@dataclass(frozen=True)
class Outcome:
    """What a run took, without imports and loading the model."""

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    """Highest resident memory, less that with the model loaded."""
    n_tokens: int
    """Real ones, that went through the model."""

    def less(self, fixed: Outcome) -> Outcome:
        """Without the time, and the tokens, of a run that shows what is the same in every run."""
        return replace(
            self,
            cpu_seconds=self.cpu_seconds - fixed.cpu_seconds,
            wall_seconds=self.wall_seconds - fixed.wall_seconds,
            n_tokens=self.n_tokens - fixed.n_tokens,
        )


class Meter:
    """Time and memory of what runs in its block."""

    def __init__(self) -> None:
        self.mark_loaded()
        self._cpu, self._wall = cpu_seconds(), time.perf_counter()

    def mark_loaded(self) -> None:
        """The model is loaded now: count memory from here, when every weight has been read."""
        for one in gc.get_objects():
            if type(one) is torch.nn.Parameter:
                one.sum()  # weights mapped from their file are in memory once they are touched
        clear, mode = _CLEAR_PEAK
        clear.write_text(mode)
        self._loaded = _status_bytes("VmRSS")

    def outcome(self, n_tokens: int) -> Outcome:
        cpu, wall = cpu_seconds() - self._cpu, time.perf_counter() - self._wall
        return Outcome(cpu, wall, _status_bytes("VmHWM") - self._loaded, n_tokens)


def _status_bytes(name: str) -> int:
    """A line of this process's memory as Linux counts it, which does so in KiB."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def read_task() -> Task:
    """The task on the command line; torch is set to its threads."""
    parser = argparse.ArgumentParser()
    for name in ("model", "texts", "folder"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("max-tokens", "threads", "batch-texts"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--keep-states", action="store_true")
    task = Task(**vars(parser.parse_args()))
    torch.set_num_threads(task.threads)
    return task


def as_arguments(task: Task) -> list[str]:
    """The command line that `read_task` reads."""
    values = asdict(task)
    keep = values.pop("keep_states")
    pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in values.items()]
    return [word for pair in pairs for word in pair] + ["--keep-states"] * keep


def report(outcome: Outcome) -> None:
    """Print the outcome: the last line of what a peer's program prints."""
    print(json.dumps(asdict(outcome)), flush=True)


@dataclass(frozen=True)
class Batch:
    """Some texts, padded on the right."""

    texts: list[int]
    """Which: indices."""
    ids: Tensor
    mask: Tensor
    """Both (text, token), int64."""


def sorted_batches(tokenizer: Any, task: Task) -> Iterator[Batch]:
    """The texts in batches of a fixed number, sorted by tokens: the best of a peer's usual ways."""
    encoded = tokenizer(task.read_texts(), truncation=True, max_length=task.max_tokens)["input_ids"]
    order = sorted(range(len(encoded)), key=lambda i: -len(encoded[i]))
    for start in range(0, len(order), task.batch_texts):
        texts = order[start : start + task.batch_texts]
        yield _padded(texts, [encoded[i] for i in texts])


def _padded(texts: list[int], encoded: Sequence[Sequence[int]]) -> Batch:
    width = max(map(len, encoded))
    ids, mask = (torch.zeros((len(texts), width), dtype=torch.int64) for _ in range(2))
    for row, one in enumerate(encoded):
        ids[row, : len(one)] = torch.tensor(one)
        mask[row, : len(one)] = 1
    return Batch(texts, ids, mask)


def mean(states: Tensor, mask: Tensor) -> Tensor:
    """(text, hidden): mean over the real tokens. states: (text, token, hidden)."""
    return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


@torch.inference_mode()
def run_batches(
    task: Task, tokenizer: Any, vectors_of: Callable[[Batch], Sequence[Tensor]]
) -> None:
    """Time a peer over all batches and report it.

    vectors_of: a batch's vectors, (text, hidden) for each layer.
    """
    meter, found, n_tokens = Meter(), {}, 0
    for batch in sorted_batches(tokenizer, task):
        vectors = torch.stack(list(vectors_of(batch))).numpy()
        found |= {text: vectors[:, i] for i, text in enumerate(batch.texts)}
        n_tokens += int(batch.mask.sum())
    outcome = meter.outcome(n_tokens)
    np.save(task.folder / VECTORS, np.stack([found[i] for i in sorted(found)], axis=1))
    report(outcome)
