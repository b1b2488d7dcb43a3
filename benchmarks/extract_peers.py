"""Extraction against nnsight, TransformerLens and SAELens, each in an environment of its own.

Same texts, model, dtype (float32) and threads; half as many texts as the floor gets. Imports and
loading the model are left out; of actstore's, what an extraction of one text takes. nnsight and
TransformerLens get their texts sorted by length and pool each layer once, into memory; SAELens
writes one layer's token states to disk.
"""

from __future__ import annotations

import json
from statistics import median

import numpy as np

from benchmarks.peers.environment import PeerFailedError, python_of, run_peer
from benchmarks.peers.protocol import VECTORS, Outcome, Task
from benchmarks.timing import Row
from benchmarks.workload import Settings, make_workload

OURS = "actstore"
PEERS = {
    "nnsight": "nnsight (trace that stops after the last block), all layers, into memory",
    "transformer_lens": "TransformerLens (bridge, run_with_cache), all layers, into memory",
    "sae_lens": "SAELens' caching runner, a run for each block, to disk",
}
"""What each of them does, by the name of its program."""


def peer_rows(settings: Settings) -> list[Row]:
    return [peer_row(settings, peer) for peer in PEERS]


def peer_row(settings: Settings, peer: str) -> Row:
    """Our extraction and a peer's, in turn."""
    what, target = f"against {PEERS[peer]}", "< 1 x CPU"
    tasks = {name: make_task(settings, name) for name in (peer, OURS)}
    try:
        pythons = {name: python_of(name, settings.environments) for name in tasks}
        rounds = [
            {name: run_peer(name, pythons[name], task) for name, task in tasks.items()}
            for _ in range(settings.rounds)
        ]
    except PeerFailedError as error:
        return Row(what, target, f"not run: {error}".replace("\n", " "))
    ratio = median(_cpu_per_token(one[OURS]) / _cpu_per_token(one[peer]) for one in rounds)
    return Row(what, target, f"{ratio:.2f} x CPU{_difference(tasks[OURS], tasks[peer])}")


def make_task(settings: Settings, name: str) -> Task:
    """What a program is asked to run: the workload, with a folder for its results."""
    work = make_workload(settings, settings.texts // 2)
    texts = settings.folder / "texts.json"
    texts.write_text(json.dumps(work.texts), "utf-8")
    folder = settings.folder / f"of_{name}"
    return Task(work.model, texts, folder, settings.max_tokens, settings.threads)


def largest_difference(ours: Task, theirs: Task) -> float:
    """Between all vectors of two runs, over the largest absolute value."""
    one, other = (np.load(task.folder / VECTORS) for task in (ours, theirs))
    return float(np.abs(one - other).max() / np.abs(one).max())


def _difference(ours: Task, theirs: Task) -> str:
    if not (theirs.folder / VECTORS).exists():
        return ""  # it keeps token states of texts that were joined
    return f" (vectors equal to {largest_difference(ours, theirs):.0e})"


def _cpu_per_token(outcome: Outcome) -> float:
    """SAELens adds separators and leaves out what does not fill a batch: count what it ran."""
    return outcome.cpu_seconds / outcome.n_tokens
