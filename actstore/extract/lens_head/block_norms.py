"""The norm that each block begins with: what a lens may decode the layer below it with.

Found by watching: a module in the block that takes exactly what the block takes, and is a norm. Of
several (GPT-NeoX's parallel blocks have two) it is the one called first, which feeds attention.
Blocks that normalise elsewhere (BERT, OLMo 2) have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from actstore.extract.lens_head.steps import Step, norm_of
from actstore.extract.lens_head.trace import evaluating, rows_of, same_numbers
from actstore.extract.model.blocks import ModelStructure
from actstore.extract.model.probe import first_states

_ROUNDINGS = 4
"""Of the module's dtype: how far a replay may be off, relative to its largest number."""
_TOLERANCE = 1e-5
"""The same in float32, where numpy adds up in another order."""


def find_block_norms(
    lm: nn.Module, structure: ModelStructure, token_ids: Tensor
) -> Mapping[int, Step]:
    """By layer l = 0 .. L - 1, the norm that block l + 1 applies to it first.

    structure: that of `lm`'s base model. A layer is left out if there is none, or if numpy does not
    give what the module gave of token_ids, (text, token).
    """
    watch = _Watch()
    inside = {id(module) for block in structure.blocks for module in block.modules()}
    handles = [
        block.register_forward_pre_hook(watch.enter, with_kwargs=True) for block in structure.blocks
    ]
    for path, module in lm.named_modules():
        if id(module) in inside and _may_be_norm(module):
            handles.append(module.register_forward_hook(watch.leaf(path), with_kwargs=True))
    try:
        with evaluating(lm), torch.inference_mode():
            lm(input_ids=token_ids, attention_mask=torch.ones_like(token_ids))
    finally:
        for handle in handles:
            handle.remove()
    return watch.found


@dataclass
class _Watch:
    """What the block that is running takes, and the norms found until now."""

    layer: int = -1
    taken: Tensor | None = None
    found: dict[int, Step] = field(default_factory=dict)

    def enter(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.layer += 1
        self.taken = rows_of(first_states((*args, *kwargs.values())))

    def leaf(self, path: str) -> Any:
        def look(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
        ) -> None:
            x, y = (rows_of(first_states(v)) for v in ((*args, *kwargs.values()), [output]))
            if self.layer in self.found or x is None or y is None or self.taken is None:
                return
            if same_numbers(x, self.taken):
                step = norm_of(path, module, x.shape[-1])
                if step is not None and _gives(step, x, y):
                    self.found[self.layer] = step

        return look


def _may_be_norm(module: nn.Module) -> bool:
    """Without children and without a matrix."""
    leaf = not any(True for _ in module.children())
    return leaf and all(parameter.ndim <= 1 for parameter in module.parameters(recurse=False))


def _gives(step: Step, x: Tensor, y: Tensor) -> bool:
    """Whether the step, in float32, makes y of x but for the rounding of their dtypes."""
    expected = y.float().numpy()
    ours = step.op.apply(x.float().numpy(), step.arrays)
    rounding = max(torch.finfo(tensor.dtype).eps for tensor in (x, y))
    allowed = max(_TOLERANCE, _ROUNDINGS * rounding) * np.abs(expected).max()
    return ours.shape == expected.shape and bool(np.abs(ours - expected).max() <= allowed)
