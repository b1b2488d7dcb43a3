"""Ways to store states in 8 bits a value, compared: why `small` is as it is.

    python -m benchmarks.precision_ways [--store STORE --model MODEL --checkpoint main]

On states that are made up to be as residual streams are, and on mean-pooled ones of a store.
Each way takes chunks of 256 texts by themselves.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from actstore.store import open_store
from actstore.store.shards.encodings.rotation import rotation

Floats = NDArray[np.float32]
_ROWS = 256
_LARGEST = 127


def by_row(states: Floats) -> Floats:
    """A scale for each row."""
    step = np.abs(states).max(1, keepdims=True) / _LARGEST
    return np.rint(states / np.where(step > 0, step, 1)) * step


def rotated(states: Floats) -> Floats:
    """A scale for each row, after a rotation."""
    turning = rotation(states.shape[1])
    turned = turning.turn(states * turning.signs) / np.sqrt(turning.norm)
    return turning.turn(by_row(turned)) / np.sqrt(turning.norm) * turning.signs


def centred(states: Floats) -> Floats:
    """The same of what the mean row leaves: `small`."""
    mean = states.mean(0)
    return mean + rotated(states - mean)


def scaled(states: Floats) -> Floats:
    """The same, each dimension divided by its deviation before."""
    mean, deviation = states.mean(0), states.std(0)
    deviation = np.where(deviation > 0, deviation, 1)
    return mean + rotated((states - mean) / deviation) * deviation


def by_dimension(states: Floats) -> Floats:
    """A scale and an offset for each dimension."""
    low = states.min(0)
    step = (states.max(0) - low) / (2 * _LARGEST + 1)
    return low + np.rint((states - low) / np.where(step > 0, step, 1)) * step


WAYS: Mapping[str, Callable[[Floats], Floats]] = {
    "a scale a row": by_row,
    "+ rotated": rotated,
    "+ mean row taken off": centred,
    "mean off, scaled by dimension, rotated": scaled,
    "a scale a dimension": by_dimension,
}


def made_up(seed: int = 0, n: int = 3000, hidden: int = 1024) -> dict[str, Floats]:
    """States with two massive dimensions, of three kinds."""
    rng = np.random.default_rng(seed)
    plain = rng.standard_normal((n, hidden)) * np.geomspace(3, 0.1, hidden)
    plain += rng.standard_normal(hidden)
    massive = np.zeros(hidden)
    massive[[5, 700]] = 1, -1
    same = 100 * (1 + 0.02 * rng.standard_normal((n, 1)))
    shorter = 1000 / rng.integers(5, 100, (n, 1))
    few = 1000.0 * (rng.random((n, 1)) < 0.05)
    return {
        "massive, the same in every text": (plain + same * massive).astype(np.float32),
        "massive, less in longer texts": (plain + shorter * massive).astype(np.float32),
        "massive in 5 % of the rows": (plain + few * massive).astype(np.float32),
    }


def error(states: Floats, way: Callable[[Floats], Floats]) -> float:
    """The median over rows of the error, relative to how far a row is from the mean."""
    kept = np.concatenate([way(states[i : i + _ROWS]) for i in range(0, len(states), _ROWS)])
    off = np.linalg.norm(states - states.mean(0), axis=1)
    return float(np.median(np.linalg.norm(kept - states, axis=1) / off))


def table(cases: Mapping[str, Floats]) -> str:
    """A Markdown table of errors in percent."""
    lines = [f"| states | {' | '.join(WAYS)} |", "| --- |" + " ---: |" * len(WAYS)]
    for name, states in cases.items():
        cells = [f"{100 * error(states, way):.2f} %" for way in WAYS.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", help="mean-pooled states to compare too")
    parser.add_argument("--model")
    parser.add_argument("--checkpoint", default="main")
    given = parser.parse_args()
    cases = {}
    if given.store:
        store = open_store(given.store)
        group = store.checkpoint(given.model or store.models()[0], given.checkpoint)
        for layer in group.layers[:: max(1, len(group.layers) // 2)]:
            cases[f"{group.model}, layer {layer}"] = group.read("mean", layer, store.text_rows())
    print(table({**cases, **made_up()}))


if __name__ == "__main__":
    main()
