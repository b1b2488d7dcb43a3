"""Dataset entropy: how many directions texts take, in the five scales it is published in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from actstore.metrics.blocks import Floats, PooledBlock
from actstore.metrics.pooled.directions import UnitGram, merge_unit_grams, unit_gram
from actstore.metrics.pooled.moments import mean_sums
from actstore.metrics.registry import Metric, register
from actstore.metrics.spectra import Normalisation, normalised_entropy, renyi_entropy_of

_REFERENCE = (
    "Skean et al. 2025, https://arxiv.org/abs/2502.02013, section 3.2; alpha = 1, "
    "{scale}, centred on the mean of all rows, Gram matrix not clamped"
)


def dataset_entropy(
    states: Floats, *, alpha: float = 1.0, normalisation: Normalisation = "raw"
) -> float:
    """Matrix-based entropy in nats of the trace-1 Gram matrix of centred, unit-length rows.

    states: (row, hidden), any float dtype. alpha: the order, see `renyi_entropy`; 1 is von Neumann.
    normalisation: see `normalised_entropy`; raw is 0 .. ln(min(rows - 1, hidden)). Rows equal to
    the mean have no direction and are left out, and not counted as rows either. NaN for one row or
    constant rows.

    The clean definition, with the mean over all rows. The paper's later code centres within
    batches of two rows, which makes every pair of them opposite, whatever the model; and it clamps
    the Gram matrix's elements at 0, which is no projection to positive semi-definite matrices.
    That variant is a number of the batch size, and left out.
    Source: Skean et al. 2025, https://arxiv.org/abs/2502.02013, section 3.2 (dataset entropy).
    """
    mean = mean_sums(PooledBlock.of(states)).mean
    return _dataset_entropy(unit_gram(PooledBlock.of(states, mean)), normalisation, alpha)


def _dataset_entropy(stats: UnitGram, scale: Normalisation, alpha: float = 1.0) -> float:
    entropy = renyi_entropy_of(stats.spectrum, alpha)
    return normalised_entropy(entropy, stats.n, len(stats.gram), scale)


def _register(
    name: str, scale: Normalisation, divisor: str, values: str, description: str
) -> Metric[PooledBlock, UnitGram]:
    finalize: Callable[[UnitGram], float] = partial(_dataset_entropy, scale=scale)
    entropy = "-\\sum_k \\lambda_k \\ln \\lambda_k"
    formula = f"{entropy} / {divisor}" if divisor else entropy
    return register(
        Metric(
            name=name,
            formula=f"{formula},\\ \\lambda = \\mathrm{{eig}}(U U^\\top / n)",
            range=values,
            cost="n d^2 + d^3",
            invariant_to=frozenset({"rotation", "scaling", "translation"}),
            over="pooled",
            chunk=unit_gram,
            combine=merge_unit_grams,
            finalize=finalize,
            reference=_REFERENCE.format(scale=scale),
            unit="share" if divisor else "nats",
            description=description,
            needs_mean=True,
        )
    )


_register(
    "dataset_entropy",
    "raw",
    "",
    "0 .. ln(min(n - 1, d))",
    "entropy of the directions of the texts: 0 (one line) to ln(dimensions)",
)
_register(
    "dataset_entropy_maxentropy",
    "maxEntropy",
    "\\min(\\ln n, \\ln d)",
    "0 .. 1",
    "dataset entropy as a share of its largest value",
)
_register(
    "dataset_entropy_logn",
    "logN",
    "\\ln n",
    "0 .. 1",
    "dataset entropy divided by ln(texts)",
)
_register(
    "dataset_entropy_logd",
    "logD",
    "\\ln d",
    "0 .. 1",
    "dataset entropy divided by ln(dimensions)",
)
_register(
    "dataset_entropy_lognlogd",
    "logNlogD",
    "(\\ln n \\ln d)",
    "0 .. 1/max(ln n, ln d)",
    "dataset entropy divided by ln(texts) ln(dimensions)",
)
