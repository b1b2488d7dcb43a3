"""Gradients through the steps of a lens head, written by hand: torch stays out of the metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from actstore.errors import InvalidInputError
from actstore.metrics.blocks import Floats
from actstore.store import LensHead
from actstore.store.heads.head_ops import (
    ACTIVATIONS,
    Activation,
    HeadOp,
    LayerNorm,
    Linear,
    RmsNorm,
    Scale,
    Softcap,
)


def pull_back(op: HeadOp, x: Floats, gradient: Floats, arrays: Mapping[str, Floats]) -> Floats:
    """The gradient with respect to an op's input, from that with respect to its output.

    x: (n, width), the input. gradient: (n, width of the output). Returns (n, width), in x's dtype.
    """
    match op:
        case Linear():
            y: Floats = gradient @ arrays[op.weight].astype(x.dtype, copy=False)
            return y
        case LayerNorm():
            back = _through_rms(op, x - x.mean(axis=-1, keepdims=True), gradient, arrays)
            return np.asarray(back - back.mean(axis=-1, keepdims=True))
        case RmsNorm():
            return _through_rms(op, x, gradient, arrays)
        case Scale():
            return gradient * op.factor
        case Softcap():
            return np.asarray(gradient * (1 - np.tanh(x / op.cap) ** 2))
        case Activation():
            return np.asarray(gradient * SLOPES[op.function](x))


def pull_back_all(
    ops: Sequence[HeadOp], inputs: Sequence[Floats], gradient: Floats, arrays: Mapping[str, Floats]
) -> Floats:
    """The same through several ops, the last one first; inputs: of each op."""
    for op, x in zip(reversed(ops), reversed(inputs), strict=True):
        gradient = pull_back(op, x, gradient, arrays)
    return gradient


def inputs_of(
    ops: Sequence[HeadOp], x: Floats, arrays: Mapping[str, Floats]
) -> tuple[list[Floats], Floats]:
    """What each of several ops gets, one applied after the other, and what the last one gives."""
    inputs = []
    for op in ops:
        inputs.append(x)
        x = op.apply(x, arrays)
    return inputs, x


def require_differentiable(head: LensHead) -> None:
    """Raise InvalidInputError unless every step of a head is one there is a gradient for."""
    for op in head.ops:
        known = isinstance(op, LayerNorm | RmsNorm | Linear | Scale | Softcap | Activation)
        if not known or (isinstance(op, Activation) and op.function not in SLOPES):
            raise InvalidInputError(
                f"A tuned lens cannot be fitted through this lens head: there is no gradient of "
                f"its step {op}. Fit the affine lens, which needs none: --lens affine"
            )


def _through_rms(
    op: LayerNorm | RmsNorm, x: Floats, gradient: Floats, arrays: Mapping[str, Floats]
) -> Floats:
    """Through x / sqrt(mean(x²) + epsilon) * gain."""
    inverse = 1 / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + op.epsilon)
    along = gradient * arrays[op.gain].astype(x.dtype, copy=False)
    unit = x * inverse
    back: Floats = inverse * (along - unit * (along * unit).mean(axis=-1, keepdims=True))
    return back


def _gelu_slope(x: Floats) -> Floats:
    density = np.exp(-np.square(x) / 2) / math.sqrt(2 * math.pi)
    below = np.divide(ACTIVATIONS["gelu"](x), x, out=np.full_like(x, 0.5), where=x != 0)
    return np.asarray(below + x * density)


def _gelu_tanh_slope(x: Floats) -> Floats:
    root = math.sqrt(2 / math.pi)
    bent = np.tanh(root * (x + 0.044715 * x**3))
    return np.asarray((1 + bent + x * (1 - bent**2) * root * (1 + 3 * 0.044715 * x**2)) / 2)


def _silu_slope(x: Floats) -> Floats:
    sigmoid = (1 + np.tanh(x / 2)) / 2
    return np.asarray(sigmoid * (1 + x * (1 - sigmoid)))


SLOPES: dict[str, Callable[[Floats], Floats]] = {
    "gelu": _gelu_slope,
    "gelu_tanh": _gelu_tanh_slope,
    "silu": _silu_slope,
    "relu": lambda x: (x > 0).astype(x.dtype),
    "tanh": lambda x: np.asarray(1 - np.tanh(x) ** 2),
}
"""The derivative of each of ACTIVATIONS that has one here."""
