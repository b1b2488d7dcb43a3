"""Prompt entropy: over how many directions a text's token states spread.

Texts of like lengths are taken together, padded with zeros, a few at a time, so that they stay in a
core's cache: a zero row adds a zero eigenvalue, which adds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import ROUNDING, Floats, RowNumbers, TokenBlock
from actstore.metrics.registry import Metric, register
from actstore.metrics.spectra import Normalisation, normalised_entropy, renyi_entropy_of
from actstore.metrics.statistics import PerText, itself, mean_of, merge_per_text, per_text

EntropyVariant = Literal["clean", "clamped"]
Spans = NDArray[np.int64]
_ELEMENTS = 1 << 17
"""Of the texts taken together: 1 MiB in float64."""
_LEAST_FILLED = 0.85
"""Of the longest text's tokens, what a text taken together with it must have."""


def prompt_entropy(
    states: Floats, *, alpha: float = 1.0, variant: EntropyVariant = "clean"
) -> float:
    """Entropy in nats of the trace-1 Gram matrix of a text's centred tokens, scaled to length 1.

    states: (token, hidden) of one text, any float dtype. alpha: the order of the Rényi entropy, 0
    or more; 1 is von Neumann's, infinity the min-entropy. Tokens equal to the mean have no
    direction and are left out. NaN for one token, equal tokens, a single dimension, or a state that
    is not finite. Raises InvalidInputError for an alpha below 0.
    - "clean": 0 .. ln(min(tokens - 1, hidden)).
    - "clamped": as the paper's code has it: negative elements of the Gram matrix, (token, token) or
      (hidden, hidden), whichever is smaller, are set to 0 first, and eigenvalues that this makes
      negative are left out. 0 .. ln(min(tokens, hidden)); a few random tokens give ln(tokens),
      whatever they say.
    Source: Skean et al. 2025, https://arxiv.org/abs/2502.02013, section 3.2 (prompt entropy), and
    its code, https://github.com/OFSkean/information_flow; Sanchez Giraldo, Rao & Principe 2015,
    https://arxiv.org/abs/1211.2459 (the matrix-based entropy).
    """
    tokens = np.asarray(states)
    return float(text_entropies(tokens, np.array([[0, len(tokens)]]), alpha, variant)[0])


@np.errstate(all="ignore")
def text_entropies(
    states: Floats, spans: Spans, alpha: float = 1.0, variant: EntropyVariant = "clean"
) -> NDArray[np.float64]:
    """The prompt entropy of each text, (text,). spans: (text, 2), each text's tokens."""
    entropies = np.full(len(spans), np.nan)
    longest = int((spans[:, 1] - spans[:, 0]).max(initial=0)) * states.shape[1]
    # allocated once, and not handed back to the system and cleared for every few texts
    work = np.empty(max(_ELEMENTS, longest) if len(spans) > 1 else longest)
    for some in _of_like_length(spans, states.shape[1]):
        grams = _unit_grams(*_padded(states, spans[some], work))
        if variant == "clamped":
            np.maximum(grams, 0.0, out=grams)
        entropies[some] = _entropies(grams, alpha)
    return entropies


def _of_like_length(spans: Spans, hidden: int) -> Iterator[NDArray[np.int64]]:
    """The texts that have an entropy, a few at a time, the longest first."""
    lengths = spans[:, 1] - spans[:, 0]
    order = np.argsort(-lengths, kind="stable")
    order = order[(lengths[order] > 1) & (hidden > 1)]
    long = lengths[order] > hidden  # their Gram matrices are (hidden, hidden)
    for some in (order[long], order[~long]):
        while some.size:
            longest = int(lengths[some[0]])
            alike = np.count_nonzero(lengths[some] >= _LEAST_FILLED * longest)
            n = min(alike, max(1, _ELEMENTS // (hidden * longest)))
            yield some[:n]
            some = some[n:]


def _padded(
    states: Floats, spans: Spans, work: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Tokens (text, token, hidden), zeros behind each text's last; and how many it has, (text,).

    work: the memory that the tokens are put in.
    """
    lengths = spans[:, 1] - spans[:, 0]
    shape = len(spans), int(lengths.max()), states.shape[1]
    tokens = work[: math.prod(shape)].reshape(shape)
    for text, (start, stop) in zip(tokens, spans, strict=True):
        text[: stop - start] = states[start:stop]
        text[stop - start :] = 0.0
    return tokens, lengths


def _unit_grams(tokens: NDArray[np.float64], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """(text, k, k): of each text's tokens minus their mean, scaled to length 1. Changes `tokens`.

    k is the smaller of tokens and hidden: both Gram matrices have the same eigenvalues but 0.
    """
    mean = tokens.sum(axis=1, keepdims=True) / lengths[:, None, None]
    tokens -= mean
    if tokens.shape[1] > tokens.shape[2]:
        tokens *= _scales(np.vecdot(tokens, tokens), mean, lengths)[:, :, None]
        products: NDArray[np.float64] = tokens.mT @ tokens
        return products
    grams: NDArray[np.float64] = tokens @ tokens.mT
    scales = _scales(np.diagonal(grams, axis1=1, axis2=2), mean, lengths)
    grams *= scales[:, :, None]
    grams *= scales[:, None, :]
    return grams


def _scales(
    squares: NDArray[np.float64], mean: NDArray[np.float64], lengths: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(text, token): 1 / length of a centred token; 0 on padding and where it is rounding."""
    sizes = np.sqrt(squares)
    real = np.arange(squares.shape[1]) < lengths[:, None]
    # `not <=` and not `>`: a token that is not finite stays in, and the result is NaN
    kept = real & ~(sizes <= ROUNDING * np.sqrt(np.vecdot(mean, mean)))
    return np.where(kept, 1 / np.where(kept, sizes, 1.0), 0.0)


def _entropies(grams: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """(text,): of each matrix scaled to trace 1; NaN where there is no trace. Changes `grams`."""
    trace = np.trace(grams, axis1=1, axis2=2)
    defined = np.isfinite(trace) & (trace > 0)
    grams[~defined] = 0.0
    spectra = np.linalg.eigvalsh(grams)
    noise = max(spectra.shape[1], 16) * np.finfo(np.float64).eps * spectra[:, -1:]
    shares = np.where(spectra > noise, spectra, 0.0)  # the others cannot be told from 0
    total = shares.sum(axis=1, keepdims=True)
    shares /= np.where(total > 0, total, 1.0)
    if alpha == 1:
        entropies = _shannon(shares)
    else:
        entropies = np.array([renyi_entropy_of(row, alpha) for row in shares])
    return np.where(defined, entropies, np.nan)


def _shannon(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """`shannon_entropy` of each row; rows sum to 1."""
    entropies: NDArray[np.float64] = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(
        axis=1
    )
    return np.maximum(entropies, 0.0)


@dataclass(frozen=True)
class PromptEntropies:
    """The entropy of each text's tokens, and what it is normalised by."""

    rows: RowNumbers
    """(text,), ascending, each once."""
    entropies: NDArray[np.float64]
    """(text,), in nats; NaN where not defined."""
    n_tokens: NDArray[np.int64]
    """(text,)."""
    hidden: int

    @property
    def n(self) -> int:
        return int(np.isfinite(self.entropies).sum())

    @property
    def n_undefined(self) -> int:
        return len(self.rows) - self.n

    @property
    def degenerate(self) -> str:
        return "" if self.n else "no text has two tokens that differ, all finite"

    def per_text(self, normalisation: Normalisation) -> PerText:
        """Each text's entropy, normalised."""
        lengths, at = np.unique(self.n_tokens, return_inverse=True)
        of_one_nat = [normalised_entropy(1.0, int(n), self.hidden, normalisation) for n in lengths]
        return per_text(self.rows, self.entropies * np.array(of_one_nat)[at])


def prompt_entropies(block: TokenBlock) -> PromptEntropies:
    """The clean entropies of some texts: one spectrum for all normalisations."""
    lengths = block.spans[:, 1] - block.spans[:, 0]
    entropies = text_entropies(block.states, block.spans)
    return _by_row(block.rows, entropies, lengths, block.states.shape[1])


def merge_prompt_entropies(a: PromptEntropies, b: PromptEntropies) -> PromptEntropies:
    """The statistic of both parts, which share no text."""
    rows, entropies, n_tokens = (
        np.concatenate([getattr(a, name), getattr(b, name)])
        for name in ("rows", "entropies", "n_tokens")
    )
    return _by_row(rows, entropies, n_tokens, a.hidden)


def _by_row(
    rows: RowNumbers, entropies: NDArray[np.float64], n_tokens: NDArray[np.int64], hidden: int
) -> PromptEntropies:
    order = np.argsort(rows, kind="stable")
    return PromptEntropies(rows[order], entropies[order], n_tokens[order], hidden)


def _clamped(block: TokenBlock) -> PerText:
    return per_text(block.rows, text_entropies(block.states, block.spans, variant="clamped"))


_SOURCE = "Skean et al. 2025, https://arxiv.org/abs/2502.02013, section 3.2; alpha = 1, "
_ENTROPY = "-\\sum_k \\lambda_k \\ln \\lambda_k"
_SPECTRUM = "\\lambda = \\mathrm{eig}(U U^\\top / T),\\ u_t = (x_t - \\bar x) / \\|x_t - \\bar x\\|"
_COST = "T^2 d + T^3 a text"


def _per_text(normalisation: Normalisation, entropies: PromptEntropies) -> PerText:
    return entropies.per_text(normalisation)


def _mean(normalisation: Normalisation, entropies: PromptEntropies) -> float:
    return mean_of(entropies.per_text(normalisation))


def _register_clean(
    normalisation: Normalisation, divisor: str, range_: str, unit: str, description: str
) -> None:
    raw = normalisation == "raw"
    register(
        Metric(
            name="prompt_entropy" if raw else f"prompt_entropy_{normalisation.lower()}",
            formula=f"{_ENTROPY}{divisor},\\ {_SPECTRUM}",
            range=range_,
            cost=_COST,
            invariant_to=frozenset({"rotation", "scaling", "translation"}),
            over="tokens",
            chunk=prompt_entropies,
            combine=merge_prompt_entropies,
            finalize=partial(_mean, normalisation),
            per_text=partial(_per_text, normalisation),
            reference=f"{_SOURCE}{normalisation}, Gram matrix not clamped; mean over texts",
            unit=unit,
            description=description,
        )
    )


_register_clean(
    "raw",
    "",
    "0 .. ln(min(T - 1, d))",
    "nats",
    "entropy of the directions of a text's tokens: 0 to ln(tokens - 1)",
)
_register_clean(
    "maxEntropy",
    " / \\min(\\ln T, \\ln d)",
    "0 .. 1",
    "1",
    "each text's prompt entropy divided by ln(min(tokens, hidden))",
)
_register_clean(
    "logN",
    " / \\ln T",
    "0 .. 1",
    "1",
    "each text's prompt entropy divided by ln(tokens)",
)
_register_clean(
    "logD",
    " / \\ln d",
    "0 .. 1",
    "1",
    "each text's prompt entropy divided by ln(hidden)",
)
_register_clean(
    "logNlogD",
    " / (\\ln T \\ln d)",
    "0 .. 1 / ln(max(T, d))",
    "1 / nats",
    "each text's prompt entropy divided by ln(tokens) ln(hidden)",
)
register(
    Metric(
        name="prompt_entropy_clamped",
        formula=f"{_ENTROPY},\\ \\lambda = \\mathrm{{eig}}(\\max(K, 0) / \\mathrm{{tr}} K),\\ "
        "K = U U^\\top \\text{ if } T \\le d,\\ U^\\top U \\text{ else}",
        range="0 .. ln(min(T, d))",
        cost=_COST,
        # not to rotation: what is clamped of (hidden, hidden) depends on the axes
        invariant_to=frozenset({"scaling", "translation"}),
        over="tokens",
        chunk=_clamped,
        combine=merge_per_text,
        finalize=mean_of,
        per_text=itself,
        reference=f"{_SOURCE}raw, as in its code: negative elements of the Gram matrix set to 0; "
        "mean over texts",
        unit="nats",
        description="prompt entropy as the paper's code has it: ln(tokens) for short random texts",
    )
)
