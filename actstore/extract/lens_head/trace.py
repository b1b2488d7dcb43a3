"""The tail of a forward: what a model with a language-model head does after its last block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from actstore.extract.model.blocks import ModelStructure
from actstore.extract.model.probe import Call, first_states


@dataclass(frozen=True)
class Tail:
    """What stands between the last block and the logits, in one forward.

    All tensors are (token, width), on the CPU, in the model's dtype.
    """

    state: Tensor
    """The raw output of the last block."""
    calls: tuple[Call, ...]
    """Calls, after the last block, of modules without children that changed their input."""
    logits: Tensor


class _Recorder:
    """Keeps the latest output of a block and the calls since."""

    def __init__(self) -> None:
        self.state: Tensor | None = None
        self.calls: list[Call] = []

    def block(self, _: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        self.state = rows_of(first_states([output]))
        self.calls.clear()

    def leaf(self, path: str) -> Any:
        def record(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
        ) -> None:
            x, y = first_states((*args, *kwargs.values())), first_states([output])
            if (
                self.state is not None
                and x is not None
                and y is not None
                and not same_numbers(x, y)
            ):
                self.calls.append(Call(path, module, rows_of(x), rows_of(y)))

        return record


def trace_tail(lm: nn.Module, structure: ModelStructure, token_ids: Tensor) -> Tail:
    """Run `lm` on token_ids (text, token), without dropout, and record its tail.

    structure: that of `lm`'s base model.
    """
    recorder = _Recorder()
    inside = {id(module) for block in structure.blocks for module in block.modules()}
    handles = [block.register_forward_hook(recorder.block) for block in structure.blocks]
    for path, module in lm.named_modules():
        if id(module) not in inside and not any(True for _ in module.children()):
            hook = recorder.leaf(path)
            handles.append(module.register_forward_hook(hook, with_kwargs=True))
    try:
        with evaluating(lm), torch.inference_mode():
            output = lm(input_ids=token_ids, attention_mask=torch.ones_like(token_ids))
    finally:
        for handle in handles:
            handle.remove()
    assert recorder.state is not None, "the structure was found by watching this block run"
    logits = rows_of(output.logits)
    assert logits is not None
    return Tail(recorder.state, tuple(recorder.calls), logits)


@contextmanager
def evaluating(lm: nn.Module) -> Iterator[None]:
    """Inside this block the model runs without dropout."""
    was_training = lm.training
    lm.eval()
    try:
        yield
    finally:
        lm.train(was_training)


def same_numbers(x: Tensor, y: Tensor) -> bool:
    """True if both are equal once both have the shorter of their dtypes (a norm in float32 may be
    cast to bfloat16 on its way to the next module)."""
    if x.shape != y.shape:
        return False
    shorter = min(x.dtype, y.dtype, key=lambda dtype: dtype.itemsize)
    return torch.equal(x.to(shorter), y.to(shorter))


def rows_of(states: Tensor | None) -> Any:
    """A copy as (token, width): models may go on to change a tensor in place."""
    if states is None:
        return None
    return states.detach().to("cpu", copy=True).flatten(0, -2)
