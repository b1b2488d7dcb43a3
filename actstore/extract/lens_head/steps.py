"""Which op of a lens head a module is, told from what it makes of numbers.

Class and parameter names are not consulted: a linear module is one whose output is its input times
its matrix, a norm one that a norm's formula reproduces on probe rows, a soft cap one whose cap is a
number of the model's config.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from actstore.extract.model.probe import Call, weights_of
from actstore.store.heads.head_ops import (
    ACTIVATIONS,
    Activation,
    Floats,
    HeadOp,
    LayerNorm,
    Linear,
    RmsNorm,
    Scale,
    Softcap,
)

_USUAL_EPSILONS = (1e-5, 1e-6, 1e-8, 1e-12, float(np.finfo(np.float32).eps), 0.0)
_NORM_TOLERANCE = 1e-4
"""Of a norm's float32 output, relative to the largest number of a row; a wrong epsilon is above."""
_SAMPLE = 4096
"""Numbers that elementwise ops are compared on: so many of the largest, and so many others."""


@dataclass(frozen=True)
class Step:
    """An op and its arrays."""

    op: HeadOp
    arrays: dict[str, Floats]


def step_of_call(call: Call, numbers: Iterable[float]) -> Step | None:
    """What a module does, from one call of it and from probing a float32 copy of it.

    numbers: those of the model's config, as `elementwise` takes them. None if it is no op we know.
    """
    if (linear := _linear(call)) is not None:
        return linear
    assert call.states_in is not None
    assert call.states_out is not None
    if (op := elementwise(call.states_in, call.states_out, numbers)) is not None:
        return Step(_told_in_float32(call.module, numbers) or op, {})
    return norm_of(call.path, call.module, call.states_in.shape[-1])


def elementwise(x: Tensor, y: Tensor, numbers: Iterable[float]) -> HeadOp | None:
    """The op that makes y of x number by number: the best of a scale, soft caps and activations.

    x, y: the same shape, on the CPU. numbers: a soft cap is one of these, and a scale that is close
    to one of them, its inverse or its root is taken to be it (16-bit numbers blur it). None if
    none fits to the rounding of y's dtype.
    """
    if x.shape != y.shape:
        return None
    rounding = max(torch.finfo(tensor.dtype).eps for tensor in (x, y))
    places = _telling_places(x.flatten())
    a, b = (tensor.flatten()[places].double().numpy() for tensor in (x, y))
    best = min(_elementwise_ops(a, b, list(numbers), rounding), key=lambda op: _rms(op, a, b))
    largest_error = np.abs(best.apply(a, {}) - b).max()
    return best if largest_error <= max(2 * rounding, 2e-6) * np.abs(b).max() else None


def _told_in_float32(module: nn.Module, numbers: Iterable[float]) -> HeadOp | None:
    """The elementwise op a module is: 16 bits would not tell GELU from its approximation."""
    x = torch.linspace(-5, 5, 1001)[:, None]
    y = _in_float32(module, x)
    return None if y is None else elementwise(x, torch.from_numpy(y).float(), numbers)


def _telling_places(x: Tensor) -> Tensor:
    """Where to compare: the largest numbers, which a soft cap changes most, and some of all."""
    largest = x.abs().float().topk(min(_SAMPLE, x.numel())).indices
    return torch.cat([largest, torch.arange(0, x.numel(), x.numel() // _SAMPLE + 1)])


def _elementwise_ops(
    a: Floats, b: Floats, numbers: list[float], rounding: float
) -> Iterator[HeadOp]:
    factor = float(a @ b / max(float(a @ a), 1e-300))
    near = [v for n in numbers for root in (n, n**0.5) for v in (root, 1 / root)]
    snapped = min(near, key=lambda value: abs(value - factor), default=factor)
    close = abs(snapped - factor) <= min(100 * rounding, 1e-3) * abs(factor)
    if abs(factor - 1) > 1e-3:  # were it 1, x and y would have been found equal
        yield Scale(snapped if close else factor)
    yield from (Softcap(number) for number in numbers)
    yield from (Activation(name) for name in ACTIVATIONS)


def _rms(op: HeadOp, a: Floats, b: Floats) -> float:
    return float(np.square(op.apply(a, {}) - b).mean())


def _linear(call: Call) -> Step | None:
    weight, bias = (weights_of(call.module).get(name) for name in ("weight", "bias"))
    x, y = call.states_in, call.states_out
    if weight is None or weight.ndim != 2 or x is None or y is None:
        return None
    for matrix in (weight, weight.T):  # GPT-2's Conv1D holds its matrix the other way round
        if tuple(matrix.shape) == (y.shape[-1], x.shape[-1]) and _multiplies(matrix, bias, x, y):
            arrays = {f"{call.path}.weight": stored_array(matrix)}
            bias_name = None if bias is None else f"{call.path}.bias"
            if bias is not None and bias_name is not None:
                arrays[bias_name] = stored_array(bias)
            return Step(Linear(f"{call.path}.weight", bias_name), arrays)
    return None


def _multiplies(matrix: Tensor, bias: Tensor | None, x: Tensor, y: Tensor) -> bool:
    with torch.inference_mode():
        ours = nn.functional.linear(x.to(matrix), matrix, bias).cpu()
    tolerance = 100 * torch.finfo(torch.float32).eps + 2 * torch.finfo(y.dtype).eps
    return bool((ours - y).abs().max() <= tolerance * y.abs().max())


def norm_of(path: str, module: nn.Module, width: int) -> Step | None:
    """The norm a module is: the formula, epsilon and gain that reproduce it on probe rows.

    width: of the states it takes. None if it is no norm.
    """
    rows = _probe_rows(width)
    outputs = _in_float32(module, torch.cat([torch.zeros(1, width), rows]))
    if outputs is None or outputs.shape != (len(rows) + 1, width) or not np.isfinite(outputs).all():
        return None
    bias, x = outputs[0], rows.double().numpy()  # both norms of zeros are their bias
    epsilons = dict.fromkeys([*_own_epsilons(module), *_USUAL_EPSILONS])
    names = f"{path}.gain", f"{path}.bias"
    tried = [kind(*names, epsilon) for kind in (LayerNorm, RmsNorm) for epsilon in epsilons]
    fits = [_fit(op, x, outputs[1:] - bias) for op in tried]
    best = int(np.argmin([error for error, _ in fits]))
    error, gain = fits[best]
    if error > _NORM_TOLERANCE:
        return None
    kept = _exactly(gain, module), torch.from_numpy(bias).float()
    return Step(tried[best], dict(zip(names, map(stored_array, kept), strict=True)))


def _probe_rows(width: int) -> Tensor:
    """Rows of three sizes, the smallest so small that epsilon shows, and with means off zero."""
    noise = torch.randn(12, width, generator=torch.Generator().manual_seed(0))
    sizes = torch.tensor([1.0, 30.0, 2e-3]).repeat(4)[:, None]
    return (noise + 0.3) * sizes


def _in_float32(module: nn.Module, rows: Tensor) -> Floats | None:
    """What the module makes of the rows with its weights in float32, on the CPU.

    So a 16-bit model is probed as exactly, wherever its weights are: the class's own forward is
    called, not the module, whose hooks may move what passes to the device it runs on.
    """
    twin = _float32_twin(module)
    try:
        with torch.inference_mode():
            output = type(twin).forward(twin, rows[None])
    except (TypeError, RuntimeError):  # it wants other inputs: not a norm
        return None
    return output[0].double().numpy() if torch.is_tensor(output) else None


def _float32_twin(module: nn.Module) -> nn.Module:
    """A copy that shares all but its weights, which are float32 on the CPU."""
    twin = copy.copy(module)
    weights = {name: _float32(values) for name, values in weights_of(module).items()}
    for kind in ("_parameters", "_buffers"):
        twin.__dict__[kind] = {name: weights.get(name) for name in getattr(module, kind)}
    return twin


def _float32(values: Tensor) -> Tensor:
    return values.to("cpu", torch.float32 if values.is_floating_point() else None)


def _own_epsilons(module: nn.Module) -> list[float]:
    values = vars(module).values()
    return [value for value in values if isinstance(value, float) and 0 <= value < 0.1]


def _fit(op: LayerNorm | RmsNorm, x: Floats, y: Floats) -> tuple[float, Floats]:
    """(largest relative error, gain) of the gain with which the norm of x is closest to y."""
    width = x.shape[-1]
    plain = op.apply(x, {op.gain: np.ones(width), op.bias: np.zeros(width)})
    gain: Floats = (plain * y).sum(axis=0) / np.square(plain).sum(axis=0)
    error = np.abs(plain * gain - y).max(axis=-1) / np.abs(y).max(axis=-1)
    return float(np.nan_to_num(error.max(), nan=np.inf)), gain


def _exactly(gain: Floats, module: nn.Module) -> Tensor:
    """The module's own numbers that the measured gain is: w, 1 + w, or ones; else as measured."""
    measured = torch.from_numpy(gain).float()
    own = [_float32(weights).flatten() for weights in weights_of(module).values()]
    same_size = [weights for weights in own if weights.shape == measured.shape]
    exact = [v for w in same_size for v in (w, 1 + w)] + [torch.ones_like(measured)]
    close = (v for v in exact if torch.allclose(v, measured, rtol=1e-4, atol=1e-5))
    return next(close, measured)


def stored_array(weights: Tensor) -> Floats:
    """A contiguous copy in the smaller of float16 and float32 that holds every number exactly.

    So a head takes the bytes its checkpoint was published in, whatever it is computed in. float32
    for bfloat16, of which float16 holds few, and for what neither holds.
    """
    weights = weights.detach().cpu()
    parts = torch.split(weights, _SAMPLE)
    exact = all(torch.equal(part.half().to(part.dtype), part) for part in parts)
    dtype = torch.float16 if exact else torch.float32
    array: Floats = weights.to(dtype, copy=True).contiguous().numpy()
    return array
