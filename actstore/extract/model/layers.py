"""Run a batch and hand over each wanted layer's states as the model produces them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from actstore.errors import ModelStructureError
from actstore.extract.model.blocks import ModelStructure
from actstore.extract.model.probe import first_states, probe_ids


class _EnoughError(Exception):
    """Raised inside a forward once the highest wanted layer was taken."""


class _Tap:
    """Counts a forward's block calls and passes on the states of the wanted layers."""

    def __init__(self, layers: Collection[int], take: Callable[[int, Tensor], None]) -> None:
        self.wanted = frozenset(layers)
        self.last = max(layers)
        self.take = take
        self.layer = 0

    def before(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.layer == 0:
            self._pass_on(first_states((*args, *kwargs.values())))

    def after(self, _: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        self._pass_on(first_states([output]))

    def _pass_on(self, states: Tensor | None) -> None:
        assert states is not None, "the probe saw states here"
        if self.layer in self.wanted:
            self.take(self.layer, states)
        if self.layer == self.last:
            raise _EnoughError
        self.layer += 1


def run_layers(
    structure: ModelStructure,
    token_ids: Tensor,
    mask: Tensor | None,
    layers: Collection[int],
    take: Callable[[int, Tensor], None],
    inputs: Mapping[str, Tensor | int] | None = None,
) -> None:
    """One forward; calls take(layer, hidden) for each wanted layer, in ascending order.

    token_ids, mask: (text, token), on the model's device, padded on the right; positions are the
    model's own, which right padding leaves as they are. mask: None for none at all. inputs: what
    the model takes besides, as for packed texts. layers: 0 is what the first block takes in, i what
    block i gives. hidden: (text, token, hidden) in the compute dtype; the model may change it in
    place once `take` returns. The forward ends with the highest wanted layer.
    """
    tap = _Tap(layers, take)
    handles = [block.register_forward_hook(tap.after) for block in structure.blocks]
    first = structure.blocks[0]
    handles.append(first.register_forward_pre_hook(tap.before, with_kwargs=True))
    try:
        with torch.inference_mode():
            attention_mask = None if mask is None else mask.long()
            structure.base(input_ids=token_ids, attention_mask=attention_mask, **(inputs or {}))
    except _EnoughError:
        pass
    finally:
        for handle in handles:
            handle.remove()


def require_padding_to_be_ignored(structure: ModelStructure) -> None:
    """Raise ModelStructureError if padding a text on the right changes its tokens' states.

    A model that ignores the attention mask and looks at all tokens would do that. The bound is
    wide, as kernels round differently at different widths: such a model is off by all of it.
    """
    ids = probe_ids(structure.base)
    n_real = ids.shape[1] // 2
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[:, n_real:] = False
    alone = _last_layer(structure, ids[:, :n_real], mask[:, :n_real])
    padded = _last_layer(structure, ids, mask)[:, :n_real]
    if (padded - alone).norm() > 0.05 * alone.norm():
        raise ModelStructureError(
            f"Padding changes the states of {type(structure.base).__name__}: it does not heed the "
            "attention mask, so a text's vector would depend on the other texts of its batch."
        )


def _last_layer(structure: ModelStructure, ids: Tensor, mask: Tensor) -> Tensor:
    kept: list[Tensor] = []
    last = structure.n_blocks
    run_layers(structure, ids, mask, [last], lambda _, states: kept.append(states.float().clone()))
    return kept[0]
