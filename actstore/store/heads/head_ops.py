"""The steps a lens head is made of: plain data that numpy can replay.

An op names its arrays; the arrays themselves stand beside the program in `LensHead.arrays`. Every
op acts on each row of (n, width) alone and computes in the dtype of what it gets, float32 or
float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from actstore.store.records.documents import Fields, is_file_name, is_finite, or_none, wrong_field
from actstore.store.records.journal import Json

Floats = NDArray[np.floating[Any]]
Tokens = slice | NDArray[np.integer[Any]]
"""Some ids of the vocabulary."""
EVERY_TOKEN = slice(None)


@dataclass(frozen=True)
class _Norm:
    """What both norms hold."""

    gain: str
    """(width,): the effective gain. 1 + w where a model stores w; ones where it has no gain."""
    bias: str
    """(width,): zeros where the model has none."""
    epsilon: float
    """Added to the variance, inside the square root."""

    def _scaled(self, x: Floats, arrays: Mapping[str, Floats]) -> Floats:
        inverse = 1 / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + self.epsilon)
        gain, bias = (arrays[name].astype(x.dtype, copy=False) for name in (self.gain, self.bias))
        y: Floats = x * inverse * gain + bias
        return y


@dataclass(frozen=True)
class LayerNorm(_Norm):
    """(x - mean) / sqrt(variance + epsilon) * gain + bias, with the population's variance.

    Source: Ba et al. 2016, https://arxiv.org/abs/1607.06450, section 3.
    """

    kind: ClassVar[str] = "layer_norm"

    def apply(self, x: Floats, arrays: Mapping[str, Floats]) -> Floats:
        """The norm of each row of x (n, width), of the same shape and dtype."""
        return self._scaled(x - x.mean(axis=-1, keepdims=True), arrays)


@dataclass(frozen=True)
class RmsNorm(_Norm):
    """x / sqrt(mean(x²) + epsilon) * gain + bias.

    Source: Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467, equation 4.
    """

    kind: ClassVar[str] = "rms_norm"

    def apply(self, x: Floats, arrays: Mapping[str, Floats]) -> Floats:
        """The norm of each row of x (n, width), of the same shape and dtype."""
        return self._scaled(x, arrays)


@dataclass(frozen=True)
class Linear:
    """x @ weight.T + bias."""

    weight: str
    """(out, in); for the unembedding, one row a token of the vocabulary."""
    bias: str | None
    """(out,)"""
    kind: ClassVar[str] = "linear"

    def apply(self, x: Floats, arrays: Mapping[str, Floats]) -> Floats:
        """(n, in) -> (n, out); weights are widened to x's dtype."""
        return self.add_bias(self.product(x, arrays), arrays)

    def product(
        self,
        x: Floats,
        arrays: Mapping[str, Floats],
        outputs: Tokens = EVERY_TOKEN,
        out: Floats | None = None,
    ) -> Floats:
        """x @ weight.T, or only the columns `outputs`; written to `out` where one is given."""
        weight = arrays[self.weight][outputs].astype(x.dtype, copy=False)
        y: Floats = np.matmul(x, weight.T, out=out)
        return y

    def add_bias(
        self, y: Floats, arrays: Mapping[str, Floats], outputs: Tokens = EVERY_TOKEN
    ) -> Floats:
        """What `product` returned, with the bias added to it in place."""
        if self.bias is not None:
            y += arrays[self.bias][outputs].astype(y.dtype, copy=False)
        return y


@dataclass(frozen=True)
class Scale:
    """x * factor: Cohere's logit scale, Granite's 1 / logits_scaling."""

    factor: float
    kind: ClassVar[str] = "scale"

    def apply(self, x: Floats, arrays: Mapping[str, Floats]) -> Floats:
        """Elementwise, in x's dtype."""
        return x * self.factor


@dataclass(frozen=True)
class Softcap:
    """cap * tanh(x / cap).

    Source: Gemma Team 2024 (Gemma 2), https://arxiv.org/abs/2408.00118, section 2.
    """

    cap: float
    kind: ClassVar[str] = "softcap"

    def apply(self, x: Floats, arrays: Mapping[str, Floats]) -> Floats:
        """Elementwise, in x's dtype."""
        y: Floats = x / self.cap
        np.tanh(y, out=y)
        y *= self.cap
        return y


@dataclass(frozen=True)
class Activation:
    """A function of each number: one of ACTIVATIONS."""

    function: str
    kind: ClassVar[str] = "activation"

    def apply(self, x: Floats, arrays: Mapping[str, Floats]) -> Floats:
        """Elementwise, in x's dtype."""
        return ACTIVATIONS[self.function](x)


HeadOp = LayerNorm | RmsNorm | Linear | Scale | Softcap | Activation
OPS: dict[str, type[HeadOp]] = {
    op.kind: op for op in (LayerNorm, RmsNorm, Linear, Scale, Softcap, Activation)
}


def op_to_json(op: HeadOp) -> dict[str, Json]:
    """{"kind": …} and the op's fields."""
    return {"kind": op.kind, **asdict(op)}


def op_from_json(fields: Mapping[str, Any]) -> HeadOp:
    """The op that `op_to_json` wrote. KeyError, TypeError or ValueError if it is none we know."""
    if not isinstance(fields, dict):
        raise TypeError(f"{fields!r} is no op")
    op = OPS[str(fields["kind"])]
    values = {name: value for name, value in fields.items() if name != "kind"}
    if what := wrong_field(values, {one.name: _TAKES[one.name] for one in dataclass_fields(op)}):
        raise ValueError(what)
    return op(**values)


def width_behind(op: HeadOp, width: int, arrays: Mapping[str, Floats]) -> int:
    """How wide rows are that an op makes of rows of some width; -1 for any, before the first op
    that says. Raises ValueError if its arrays do not fit one another, or that width."""
    if isinstance(op, Scale | Softcap | Activation):
        return width
    if isinstance(op, Linear):
        weight = arrays[op.weight]
        if weight.ndim != 2 or not weight.size or width not in (-1, weight.shape[1]):
            raise ValueError(f"weights of shape {weight.shape} do not fit rows of {width}")
        if op.bias is not None and arrays[op.bias].shape != weight.shape[:1]:
            raise ValueError(f"the bias {op.bias!r} is not as wide as its weights")
        return int(weight.shape[0])
    gain, bias = arrays[op.gain], arrays[op.bias]
    if gain.ndim != 1 or bias.shape != gain.shape or width not in (-1, len(gain)) or not gain.size:
        raise ValueError(f"a norm of shape {gain.shape} does not fit rows of {width}")
    return len(gain)


def array_names(op: HeadOp) -> list[str]:
    """The names of the arrays the op uses."""
    names = (getattr(op, role, None) for role in ("gain", "weight", "bias"))
    return [name for name in names if name is not None]


_TAKES: Fields = {
    "gain": is_file_name,
    "weight": is_file_name,
    "bias": or_none(is_file_name),
    "epsilon": is_finite,
    "factor": is_finite,
    "cap": lambda value: is_finite(value) and value != 0,
    "function": lambda value: value in ACTIVATIONS,
}
"""What the fields of ops take."""
_erf = np.frompyfunc(math.erf, 1, 1)  # numpy has none, and scipy is not needed to read a store


def _gelu(x: Floats) -> Floats:
    """Source: Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415, section 2."""
    erf: Floats = _erf(x / math.sqrt(2)).astype(x.dtype)
    return x * (1 + erf) / 2


def _gelu_tanh(x: Floats) -> Floats:
    """The approximation of the same section."""
    y: Floats = x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
    return y


def _silu(x: Floats) -> Floats:
    y: Floats = x * (1 + np.tanh(x / 2)) / 2  # x * sigmoid(x), written so that nothing overflows
    return y


def _relu(x: Floats) -> Floats:
    return np.maximum(x, 0)


ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": _silu,
    "relu": _relu,
    "tanh": np.tanh,
}
