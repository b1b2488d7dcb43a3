"""The lens over all layers, against the matrix products alone.

The floor is one `numpy.matmul` a layer, of all tokens by the whole unembedding in float32, into an
array that is there already. The lens has the same products to make, and takes from them what
QUANTITIES says; its unembedding is float32 too, and then, in a line of its own, float16 as a store
holds it, which the lens has to widen on its side.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.lens.kernel import lens_values
from actstore.store import LensHead
from actstore.store.heads.head_ops import LayerNorm, Linear
from benchmarks.timing import Cost, Row, paired_costs, ratios

VOCABULARY = 50_304
LAYERS = 25
QUANTITIES = (
    "entropy_bits",
    "kl_layer_to_final_bits",
    "kl_final_to_layer_bits",
    "gold_rank",
    "top1_id",
    "cos_to_final",
)
FLOOR, LENS, HALF = "floor", "lens", "float16 unembedding"


@dataclass(frozen=True)
class LensInput:
    """Residuals, the unembedding that reads them, and the ids that come next."""

    states: NDArray[np.float32]
    """(layer, token, hidden)."""
    unembedding: NDArray[np.float32]
    """(vocabulary, hidden), of numbers that float16 holds."""
    gold: NDArray[np.int64]
    """(token,)."""

    def values(self, head: LensHead) -> dict[str, NDArray[Any]]:
        """QUANTITIES, as a head gives them."""
        return lens_values(self.states, head, quantities=QUANTITIES, gold=self.gold)

    def head(self, dtype: str) -> LensHead:
        """A final norm and the unembedding, in this dtype."""
        hidden = self.states.shape[2]
        arrays = {
            "gain": np.ones(hidden, np.float32),
            "bias": np.zeros(hidden, np.float32),
            "unembedding": self.unembedding.astype(dtype, copy=False),
        }
        ops = (LayerNorm("gain", "bias", 1e-5), Linear("unembedding", None))
        return LensHead(ops, arrays, max_abs_error=0.0)


def lens_rows(*, tokens: int, hidden: int, rounds: int) -> Iterator[Row]:
    """Time with an unembedding of either dtype, and memory."""
    given = lens_input(tokens, hidden, LAYERS, VOCABULARY)
    costs = paired_costs(lens_cases(given), rounds)
    size = f"{tokens} tokens, {LAYERS} layers, d={hidden}, V={VOCABULARY:,}"
    what = f"lens: entropy, both KLs, rank, top-1, cos; {size}"
    yield Row(what, "≤ 1.3 x CPU", _ratio(costs, LENS))
    yield Row("the same, unembedding in float16", "", _ratio(costs, HALF))
    peak = peak_bytes(given) / 2**20
    yield Row("its buffers, beside its inputs", "≤ 64 MB", f"{peak:.0f} MB")


def lens_cases(given: LensInput) -> dict[str, Callable[[], object]]:
    """The floor and the lens, over the same states."""
    n_layers, n_tokens, _ = given.states.shape
    logits = np.empty((n_tokens, len(given.unembedding)), np.float32)
    whole, half = given.head("float32"), given.head("float16")

    def products() -> None:
        for layer in range(n_layers):
            np.matmul(given.states[layer], given.unembedding.T, out=logits)

    return {
        FLOOR: products,
        LENS: lambda: given.values(whole),
        HALF: lambda: given.values(half),
    }


def peak_bytes(given: LensInput) -> int:
    """What one run of the lens holds at most beside its inputs, results included."""
    head = given.head("float16")
    tracemalloc.start()
    given.values(head)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def lens_input(tokens: int, hidden: int, layers: int, vocabulary: int) -> LensInput:
    """Residuals that grow from layer to layer, and logits of a size that a model's have."""
    rng = np.random.default_rng(0)
    states = rng.standard_normal((layers, tokens, hidden), np.float32)
    np.cumsum(states, axis=0, out=states)
    unembedding = rng.standard_normal((vocabulary, hidden), np.float32)
    unembedding *= 3 / np.sqrt(hidden)
    halves = unembedding.astype(np.float16).astype(np.float32)
    return LensInput(states, halves, rng.integers(0, vocabulary, tokens))


def _ratio(costs: dict[str, list[Cost]], case: str) -> str:
    found = ratios(costs[case], costs[FLOOR])
    seconds = min(cost.cpu for cost in costs[case])
    return f"{found.cpu:.2f} x (of one matmul a layer); {seconds:.1f} s"
