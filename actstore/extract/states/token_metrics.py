"""Token metrics: a number of each text from its token states at one layer, on the device.

They are the prompt_entropy and curvature of `actstore metrics`, of all texts instead of a sample's.
All arithmetic is float64, as there: states of one layer span six orders of magnitude. The values
are those, rounded to float32: they differ by less than 1e-6.

Time as a share of a block's own forward (hidden size 512, float32, one core): entropy 4 % for texts
of 32 tokens, 8 % at 128 and at worst 50 %, where the tokens are as many as the hidden size;
curvature 2 %. Memory: a few MiB on a CPU, and a few times 64 MiB elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_ELEMENTS = {"cpu": 1 << 18}
"""Of the texts of a batch that are taken together: on a CPU, 2 MiB, which stay in its cache."""
_ELEMENTS_ELSEWHERE = 1 << 23
"""64 MiB in float64."""
_ROUNDING = 16 * torch.finfo(torch.float64).eps
"""A token's deviation below this share of what it deviates from is rounding, not structure."""


@dataclass(frozen=True)
class TokenMetric:
    """One number of a text's token states."""

    name: str
    compute: Callable[[Tensor, Tensor], Tensor]
    """(hidden, mask) -> values. hidden: (text, token, hidden), any float dtype; what stands on
    padding is arbitrary and may be NaN. mask: (text, token), True for real tokens, which follow
    each other. Returns (text,) in float32; NaN where the value is undefined."""
    reference: str
    unit: str


TOKEN_METRICS: dict[str, TokenMetric] = {}


def register(metric: TokenMetric) -> TokenMetric:
    """Make a token metric known under its name; the store declares its array (schema.py)."""
    TOKEN_METRICS[metric.name] = metric
    return metric


def prompt_entropy(hidden: Tensor, mask: Tensor) -> Tensor:
    """Von Neumann entropy in nats of each text's trace-1 Gram matrix of centred, unit tokens.

    hidden: (text, token, hidden). mask: (text, token). Returns (text,): 0 .. ln(tokens - 1), NaN
    for one token or equal tokens. Tokens equal to the mean have no direction and are left out.
    Source: Skean et al. 2025, https://arxiv.org/abs/2502.02013, section 3.2; alpha = 1, raw, the
    Gram matrix not clamped.
    """
    return _in_pieces(_entropies, hidden, mask)


def curvature(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean angle in radians between successive steps of each text's token states: 0 .. pi.

    hidden: (text, token, hidden). mask: (text, token). Returns (text,): NaN if no angle is
    defined, as for fewer than three tokens. An angle next to a step of length 0 is left out.
    Source: Hosseini & Fedorenko 2023, https://arxiv.org/abs/2311.04930, section 2.
    """
    return _in_pieces(_curvatures, hidden, mask)


def _in_pieces(compute: Callable[[Tensor, Tensor], Tensor], hidden: Tensor, mask: Tensor) -> Tensor:
    """compute(states in float64, 0 on padding; mask) of a few texts at a time."""
    device = hidden.device
    if device.type == "mps":  # has neither float64 nor eigenvalues
        hidden, mask = hidden.cpu(), mask.cpu()
    elements = _ELEMENTS.get(hidden.device.type, _ELEMENTS_ELSEWHERE)
    texts = max(1, elements // (hidden.shape[1] * hidden.shape[2]))  # the Gram matrix is smaller
    values = [
        compute(part.double().masked_fill(~real.unsqueeze(-1), 0), real)
        for part, real in zip(torch.split(hidden, texts), torch.split(mask, texts), strict=True)
    ]
    return torch.cat(values).to(device, torch.float32)


def _entropies(states: Tensor, mask: Tensor) -> Tensor:
    units = _unit_tokens(states, mask)
    few = units.shape[1] <= units.shape[2]
    gram = units @ units.mT if few else units.mT @ units  # both have the same eigenvalues but 0
    trace = gram.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None]
    defined = trace.isfinite() & (trace > 0)
    spectra = torch.linalg.eigvalsh(torch.where(defined, gram / trace, 0)).clamp(min=0)
    shares = spectra / spectra.sum(dim=1, keepdim=True)
    entropy = torch.special.entr(shares).sum(dim=1).clamp(min=0)
    return torch.where(defined.flatten(), entropy, torch.nan)


def _unit_tokens(states: Tensor, mask: Tensor) -> Tensor:
    """Tokens minus their text's mean, scaled to length 1; 0 on padding and where there is none."""
    mean = states.sum(dim=1, keepdim=True) / mask.sum(dim=1)[:, None, None]
    scale = torch.maximum(_lengths(states), _lengths(mean))
    centred = states - mean
    lengths = _lengths(centred)
    # `not <=` and not `>`: a token that is not finite stays in, and the result is NaN
    kept = mask.unsqueeze(-1) & ~(lengths <= _ROUNDING * scale)
    return torch.where(kept, centred / lengths, 0)


def _curvatures(states: Tensor, mask: Tensor) -> Tensor:
    steps = states.diff(dim=1)
    lengths = _lengths(steps)
    # `!=` and not `>`: a step that is not finite stays in, and the result is NaN
    moves = (mask[:, 1:] & mask[:, :-1]).unsqueeze(-1) & (lengths != 0)
    units = steps / torch.where(moves, lengths, 1)
    a, b = units[:, :-1], units[:, 1:]
    # the angle as Kahan takes it: arccos loses half the digits near a straight line
    angles = 2 * torch.atan2(_lengths(a - b), _lengths(a + b))
    defined = moves[:, :-1] & moves[:, 1:]
    total = torch.where(defined, angles, 0).sum(dim=(1, 2))
    return total / defined.sum(dim=(1, 2))


def _lengths(vectors: Tensor) -> Tensor:
    """Of (text, token, hidden): (text, token, 1)."""
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return lengths


register(
    TokenMetric(
        name="prompt_entropy",
        compute=prompt_entropy,
        reference="Skean et al. 2025, https://arxiv.org/abs/2502.02013, section 3.2; alpha = 1, "
        "raw, Gram matrix not clamped",
        unit="nats",
    )
)
register(
    TokenMetric(
        name="curvature",
        compute=curvature,
        reference="Hosseini & Fedorenko 2023, https://arxiv.org/abs/2311.04930, section 2",
        unit="radians",
    )
)
