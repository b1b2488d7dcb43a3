"""Prompt entropy and curvature of many texts, against the spectra of their Gram matrices.

The floor is one batched `eigvalsh` for each length that texts have, of Gram matrices that are there
already, centred and scaled, in float64. The metrics get tokens in float32, in pieces of a few
thousand as in a run: widening, centring and multiplying them is on their side, and is most of it:
at 30 tokens of 1024 dimensions the products alone take twice what the spectra do. So the ratio to
products and spectra together is given as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from actstore.metrics import resolve_metrics
from actstore.metrics.blocks import TokenBlock
from benchmarks.timing import Row, paired_costs, ratios

METRICS = (
    "curvature",
    "prompt_entropy",
    "prompt_entropy_logd",
    "prompt_entropy_logn",
    "prompt_entropy_lognlogd",
    "prompt_entropy_maxentropy",
)
SPECTRA, PRODUCTS, TOGETHER = "spectra", "products and spectra", "together"
SENTENCES, PARAGRAPHS = 25, 150
"""Median lengths in tokens; lengths are lognormal: 30 and 180 on average."""
_SPREAD, _LONGEST = 0.6, 450
_TOKENS = 4096
"""Of a piece."""


def tokens_rows(*, prompts: int, hidden: int, rounds: int, layers: int = 2) -> Iterator[Row]:
    """A line for sentences, one for paragraphs: METRICS of prompts x layers, against both floors.

    layers: so many of a model's are run through; the ratio is the same for each. All are held in
    memory, with their units in float64: prompts x 30 x hidden x 12 bytes a layer.
    """
    for kind, median, n_layers in (
        ("sentences", SENTENCES, layers),
        ("paragraphs", PARAGRAPHS, 1),
    ):
        costs = paired_costs(token_cases(prompts, n_layers, hidden, median), rounds)
        to_spectra, to_both = (
            ratios(costs[TOGETHER], costs[floor]).cpu for floor in (SPECTRA, PRODUCTS)
        )
        yield Row(
            f"prompt entropy and curvature of {prompts:,} {kind} (median {median} tokens) x "
            f"{n_layers} layers, d={hidden}",
            "≤ 1.5 x CPU",
            f"{to_spectra:.2f} x (of eigvalsh); {to_both:.2f} x (of Gram matrices and eigvalsh)",
        )


def token_cases(
    prompts: int, layers: int, hidden: int, median: int = SENTENCES
) -> dict[str, Callable[[], object]]:
    """The three sides, over the same texts; each is run once, for what libraries do at first."""
    pieces = [
        piece
        for seed in range(layers)
        for piece in pieces_of_a_layer(prompts, hidden, seed, median)
    ]
    units = _by_length([_centred_units(text) for piece in pieces for text in piece.texts()])
    grams = [_gram(some) for some in units]
    cases: dict[str, Callable[[], object]] = {
        SPECTRA: lambda: [np.linalg.eigvalsh(gram) for gram in grams],
        PRODUCTS: lambda: [np.linalg.eigvalsh(_gram(some)) for some in units],
        TOGETHER: lambda: token_values(pieces),
    }
    for run in cases.values():
        run()
    return cases


def token_values(pieces: list[TokenBlock]) -> dict[str, list[float]]:
    """METRICS of each piece: as in a run, those with the same chunk share its statistic."""
    metrics = resolve_metrics(METRICS)
    values: dict[str, list[float]] = {metric.name: [] for metric in metrics}
    for piece in pieces:
        statistics = {chunk: chunk(piece) for chunk in dict.fromkeys(m.chunk for m in metrics)}
        for metric in metrics:
            values[metric.name].append(metric.finalize(statistics[metric.chunk]))
    return values


def pieces_of_a_layer(prompts: int, hidden: int, seed: int, median: int) -> list[TokenBlock]:
    """Texts of lognormal lengths: a falling spectrum, a mean off zero, massive dimensions."""
    lengths = np.random.default_rng(0).lognormal(np.log(median), _SPREAD, prompts)
    sizes = np.clip(np.rint(lengths), 2, _LONGEST).astype(int)
    rng = np.random.default_rng(seed)
    scales = rng.permutation(np.geomspace(3, 0.1, hidden)).astype(np.float32)
    mean = rng.standard_normal(hidden, np.float32)
    mean[:: max(1, hidden // 3)] *= 300
    texts = [rng.standard_normal((n, hidden), np.float32) * scales + mean for n in sizes]
    piece_of = (np.cumsum(sizes) - 1) // _TOKENS
    return [
        TokenBlock.of([texts[i] for i in np.flatnonzero(piece_of == piece)])
        for piece in np.unique(piece_of)
    ]


def _centred_units(text: NDArray[np.float32]) -> NDArray[np.float64]:
    centred = text - text.mean(axis=0, dtype=np.float64)
    units: NDArray[np.float64] = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    return units


def _by_length(texts: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    alike: dict[int, list[NDArray[np.float64]]] = defaultdict(list)
    for text in texts:
        alike[len(text)].append(text)
    return [np.stack(some) for some in alike.values()]


def _gram(units: NDArray[np.float64]) -> NDArray[np.float64]:
    """(text, k, k): k the smaller of tokens and hidden."""
    few = units.shape[1] <= units.shape[2]
    return units @ units.mT if few else units.mT @ units
