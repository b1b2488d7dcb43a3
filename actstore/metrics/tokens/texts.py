"""Metrics of one text's token states, averaged over texts."""

from __future__ import annotations

import numpy as np

from actstore.metrics.blocks import Floats, TokenBlock
from actstore.metrics.pooled.moments import unit_rows
from actstore.metrics.registry import Metric, register
from actstore.metrics.spectra import von_neumann_entropy
from actstore.metrics.statistics import PerText, mean_of, merge_per_text, per_text


def prompt_entropy(states: Floats) -> float:
    """Von Neumann entropy in nats of the trace-1 Gram matrix of a text's centred, unit tokens.

    states: (token, hidden) of one text, any float dtype. 0 .. ln(min(tokens - 1, hidden)). Tokens
    equal to the mean have no direction and are left out. NaN for one token or equal tokens.
    The clean definition: raw normalisation, alpha = 1. The paper's code also clamps the Gram
    matrix's elements at 0, which makes the entropy of short texts ln(tokens) whatever they say.
    Source: Skean et al. 2025, https://arxiv.org/abs/2502.02013, section 3.2 (prompt entropy).
    """
    if len(states) < 2:
        return float("nan")
    units = unit_rows(states, states.mean(axis=0, dtype=np.float64))
    few = len(units) <= states.shape[1]
    return von_neumann_entropy(units @ units.T if few else units.T @ units)


def curvature(states: Floats) -> float:
    """Mean angle in radians between successive steps of a text's token states: 0 .. pi.

    states: (token, hidden) of one text in reading order, any float dtype. A step is the difference
    of neighbouring tokens; an angle next to a step of length 0 is left out. The sign of the cosine
    is kept (the Layer by Layer code takes its absolute value). NaN if no angle is defined, as for
    fewer than three tokens.
    Source: Hosseini & Fedorenko 2023, https://arxiv.org/abs/2311.04930, section 2.
    """
    steps = np.diff(states.astype(np.float64), axis=0)
    lengths = np.linalg.norm(steps, axis=1, keepdims=True)
    moves = (lengths > 0)[:, 0]
    units = steps / np.where(lengths > 0, lengths, 1.0)
    a, b = units[:-1], units[1:]
    # the angle as Kahan takes it: arccos loses half the digits near a straight line
    angles = 2 * np.arctan2(np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1))
    defined = angles[moves[:-1] & moves[1:]]
    return float(defined.mean()) if defined.size else float("nan")


def _prompt_entropies(block: TokenBlock) -> PerText:
    return per_text(block.rows, np.array([prompt_entropy(states) for states in block.texts()]))


def _curvatures(block: TokenBlock) -> PerText:
    return per_text(block.rows, np.array([curvature(states) for states in block.texts()]))


register(
    Metric(
        name="prompt_entropy",
        formula="-\\sum_k \\lambda_k \\ln \\lambda_k,\\ \\lambda = \\mathrm{eig}(U U^\\top / T)",
        range="0 .. ln(min(T - 1, d))",
        cost="T^2 d + T^3 a text",
        invariant_to=frozenset({"rotation", "scaling", "translation"}),
        over="tokens",
        chunk=_prompt_entropies,
        combine=merge_per_text,
        finalize=mean_of,
        reference="Skean et al. 2025, https://arxiv.org/abs/2502.02013, section 3.2; alpha = 1, "
        "raw, Gram matrix not clamped; mean over texts",
        unit="nats",
        description="entropy of the directions of a text's tokens: 0 to ln(tokens - 1)",
    )
)
register(
    Metric(
        name="curvature",
        formula="\\frac{1}{T-2} \\sum_t \\arccos \\cos(v_t, v_{t+1}),\\ v_t = x_{t+1} - x_t",
        range="0 .. pi",
        cost="T d a text",
        invariant_to=frozenset({"rotation", "scaling", "translation"}),
        ordered=True,
        over="tokens",
        chunk=_curvatures,
        combine=merge_per_text,
        finalize=mean_of,
        reference="Hosseini & Fedorenko 2023, https://arxiv.org/abs/2311.04930, section 2; mean "
        "over texts",
        unit="radians",
        description="mean angle between successive steps from token to token: 0 (straight) to pi",
    )
)
