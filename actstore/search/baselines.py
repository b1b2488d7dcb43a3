"""What a search is compared with: random, grid, successive halving, LinUCB as published, oracle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from actstore.search.replay import Look, Strategy, Table

Floats = NDArray[np.float64]


def random_order(table: Table, seed: int) -> Iterator[Look]:
    """Arms in random order, all tasks of each."""
    yield from _whole_arms(table, np.random.default_rng(seed).permutation(len(table.arms)))


def grid(table: Table, seed: int) -> Iterator[Look]:
    """Arms on grids over checkpoint and layer that become finer; begins at a random one."""
    depths = len(np.unique(table.arms.layer))
    n_checkpoints = len(table.arms) // depths
    order: list[int] = []
    shift = int(np.random.default_rng(seed).integers(len(table.arms)))
    for level in range(1, max(n_checkpoints, depths).bit_length() + 1):
        rows = np.unique(np.linspace(0, n_checkpoints - 1, 2**level + 1).round().astype(int))
        columns = np.unique(np.linspace(0, depths - 1, 2**level + 1).round().astype(int))
        arms = [int(row * depths + column) for row in rows for column in columns]
        order += [arm for arm in arms if arm not in order]
    order += [arm for arm in range(len(table.arms)) if arm not in order]
    yield from _whole_arms(table, np.roll(order, shift))


def successive_halving(table: Table, seed: int) -> Iterator[Look]:
    """All arms on one task, the better half on two, and so on; tasks in random order.

    Source: Jamieson & Talwalkar 2016, Non-stochastic best arm identification, figure 3.
    """
    rng = np.random.default_rng(seed)
    n_tasks = table.scores.shape[1]
    tasks, alive = rng.permutation(n_tasks), rng.permutation(len(table.arms))
    weights, n_scores, done = table.objective.weights, 0, 0
    best = int(alive[0])
    while done < n_tasks:
        upto = n_tasks if len(alive) == 1 else min(max(2 * done, 1), n_tasks)
        running: dict[int, float] = {}
        for arm in alive.tolist():
            running[arm] = float(table.scores[arm, tasks[:upto]] @ weights[tasks[:upto]])
            n_scores += upto - done
            best = max(running, key=running.__getitem__)
            yield Look(n_scores, len(table.arms) if done else len(running), best)
        ranked = sorted(running, key=running.__getitem__, reverse=True)
        alive, done = np.array(ranked[: max(len(ranked) // 2, 1)]), upto


def linucb(contexts: Floats, alpha: float = 1.0) -> Strategy:
    """LinUCB as published with the tools this replaces: one ridge regression for every arm.

    contexts: (arm, metric), raw. As every arm has parameters of its own and is pulled once, what it
    has learnt never bears on another arm: the order is that of decreasing context norms.
    Source: Li et al. 2010, A contextual-bandit approach, https://arxiv.org/abs/1003.0146,
    algorithm 1 (disjoint).
    """

    def run(table: Table, seed: int) -> Iterator[Look]:
        del seed  # it has no chance in it
        n_arms, width = contexts.shape
        precision = np.tile(np.eye(width), (n_arms, 1, 1))
        evidence = np.zeros((n_arms, width))
        pulled = np.zeros(n_arms, bool)
        order: list[int] = []
        values = table.values
        while not pulled.all():
            inverse = np.linalg.inv(precision)
            theta = np.einsum("aij,aj->ai", inverse, evidence)
            width_of = np.sqrt(np.einsum("ai,aij,aj->a", contexts, inverse, contexts))
            bound = np.einsum("ai,ai->a", contexts, theta) + alpha * width_of
            arm = int(np.argmax(np.where(pulled, -np.inf, bound)))
            precision[arm] += np.outer(contexts[arm], contexts[arm])
            evidence[arm] += values[arm] * contexts[arm]
            pulled[arm] = True
            order.append(arm)
            best = order[int(np.argmax(values[order]))]
            yield Look(len(order) * table.scores.shape[1], len(order), best)

    return run


def oracle(table: Table, seed: int) -> Iterator[Look]:
    """Knows the best arm and scores it first."""
    del seed
    yield from _whole_arms(table, np.argsort(-table.values))


def _whole_arms(table: Table, order: Sequence[int] | NDArray[np.intp]) -> Iterator[Look]:
    """Arm after arm on all tasks; the best of those names itself."""
    values, best = table.values, int(order[0])
    for count, arm in enumerate(np.asarray(order).tolist(), start=1):
        best = arm if values[arm] > values[best] else best
        yield Look(count * table.scores.shape[1], count, best)
