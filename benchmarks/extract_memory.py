"""Peak memory of an extraction against hooks and nnsight that keep all hidden states.

Each in a process of its own, over one batch of 64 texts of 256 tokens, 16,384 in all. Counted is
resident memory above that with the model loaded, so the working memory of a block is in it too.
Needs Linux.
"""

from __future__ import annotations

import json
from dataclasses import replace

from benchmarks.extract_peers import OURS
from benchmarks.peers.environment import PeerFailedError, python_of, run_peer
from benchmarks.peers.protocol import Task
from benchmarks.timing import Row
from benchmarks.workload import Settings, Shape, make_texts, save_model

KEEPING = {
    "hooks": "forward hooks that keep all hidden states of a batch",
    "nnsight": "nnsight that saves all hidden states of a batch",
}
SHAPE = Shape(blocks=48, hidden=256, heads=4, vocabulary=8192)
"""As deep as GPT-2 XL and narrow, so that it is quick. What a block works with is as large as about
14 layers' states, whatever the width, so the ratio falls as models get deeper."""
_TEXTS, _TOKENS = 64, 256
_GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
"""glibc then returns freed tensors to the system: counted is what a program holds, not how its
allocator came to fill its heap."""


def memory_rows(settings: Settings, shape: Shape = SHAPE) -> list[Row]:
    """One run of each: what a program holds at most is the same every time."""
    return [memory_row(settings, peer, shape) for peer in KEEPING]


def memory_row(settings: Settings, peer: str, shape: Shape) -> Row:
    what = f"peak memory against {KEEPING[peer]} ({shape}, {_TEXTS * _TOKENS} tokens)"
    try:
        ours, theirs = (_peak_bytes(settings, name, shape) for name in (OURS, peer))
    except PeerFailedError as error:
        return Row(what, "≤ 0.25 x", f"not run: {error}".replace("\n", " "))
    sizes = f"{ours / 2**20:.0f} against {theirs / 2**20:.0f} MiB"
    return Row(what, "≤ 0.25 x", f"{ours / theirs:.2f} x ({sizes})")


def make_task(settings: Settings, name: str, shape: Shape) -> Task:
    """One batch of texts that are all cut at the same token."""
    model = settings.folder / "deep"
    if not (model / "model.safetensors").exists():
        save_model(model, shape)
    texts = settings.folder / "long.json"
    texts.write_text(json.dumps(make_texts(model, [2 * _TOKENS] * _TEXTS)), "utf-8")
    task = Task(model, texts, settings.folder / f"of_{name}", _TOKENS, settings.threads)
    return replace(task, batch_texts=_TEXTS, keep_states=True)


def _peak_bytes(settings: Settings, name: str, shape: Shape) -> int:
    python = python_of(name, settings.environments)
    return run_peer(name, python, make_task(settings, name, shape), _GIVE_BACK).peak_bytes
