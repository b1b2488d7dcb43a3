"""A tiny forward that is watched: what went into each module, and what came out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from actstore.errors import ModelStructureError
from actstore.extract.model.placement import device_of

N_TEXTS, N_TOKENS = 2, 7
"""The probe's shape: two different numbers, so that a swap of the axes shows."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a module in the probe: its first states in and out, copied to the CPU."""

    path: str
    module: nn.Module
    states_in: Tensor | None
    states_out: Tensor | None


@dataclass(frozen=True)
class Trace:
    """The calls of the watched modules, in the order in which they ended."""

    calls: tuple[Call, ...]
    last_hidden_state: Tensor


def probe_ids(base: nn.Module) -> Tensor:
    """Token ids (N_TEXTS, N_TOKENS) on the model's device, away from the special ones.

    Raises ModelStructureError for a model that does not say which of its modules embeds tokens.
    """
    embeddings = input_embeddings(base)
    vocabulary = len(embeddings.get_parameter("weight"))
    low, high = min(8, vocabulary // 2), min(vocabulary, 5000)
    ids = torch.randint(low, high, (N_TEXTS, N_TOKENS), generator=torch.Generator().manual_seed(1))
    return ids.to(device_of(embeddings))


def input_embeddings(base: nn.Module) -> nn.Module:
    """The module that embeds tokens. Raises ModelStructureError for a model that names none."""
    try:
        embeddings: nn.Module = base.get_input_embeddings()  # type: ignore[operator]
    except NotImplementedError as error:
        raise ModelStructureError(
            f"{type(base).__name__} does not say which of its modules embeds tokens. Give the "
            "model that it is a part of, or one whose get_input_embeddings is defined."
        ) from error
    return embeddings


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """A module's own parameters and buffers by name; what waits on a disk is brought in."""
    with _at_hand(module):
        own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        return {name: values.detach() for name, values in own}


def watch(base: nn.Module, modules: Mapping[str, nn.Module]) -> Trace:
    """Run the probe through `base` and return what the modules (path -> module) took and gave."""
    calls: list[Call] = []
    handles = [
        module.register_forward_hook(_recorder(path, calls), with_kwargs=True)
        for path, module in modules.items()
    ]
    ids = probe_ids(base)
    try:
        with torch.inference_mode():
            output = base(input_ids=ids, attention_mask=torch.ones_like(ids))
    finally:
        for handle in handles:
            handle.remove()
    return Trace(tuple(calls), _last_hidden_state(base, output))


def first_states(values: Iterable[Any]) -> Tensor | None:
    """The first (text, token, hidden) tensor of floats among the values, looking into tuples."""
    for value in values:
        if torch.is_tensor(value) and value.ndim == 3 and value.is_floating_point():
            return value
        if isinstance(value, tuple | list) and (found := first_states(value)) is not None:
            return found
    return None


def same(one: Tensor | None, other: Tensor | None) -> bool:
    """True if both are the very same numbers."""
    return one is not None and other is not None and torch.equal(one, other)


def _at_hand(module: nn.Module) -> AbstractContextManager[Any]:
    """Inside this block the module has its weights, wherever a device map has put them."""
    if not hasattr(module, "_hf_hook"):
        return nullcontext()
    from accelerate.utils import align_module_device  # type: ignore[import-untyped]

    aligned: AbstractContextManager[Any] = align_module_device(module)
    return aligned


def _recorder(path: str, calls: list[Call]) -> Any:
    def record(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        states_in = first_states((*args, *kwargs.values()))
        calls.append(Call(path, module, _kept(states_in), _kept(first_states([output]))))

    return record


def _kept(states: Tensor | None) -> Tensor | None:
    """A copy: models may go on to change a tensor in place."""
    return None if states is None else states.detach().to("cpu", copy=True)


def _last_hidden_state(base: nn.Module, output: Any) -> Tensor:
    states = getattr(output, "last_hidden_state", None)
    if states is None:
        states = first_states(output) if isinstance(output, tuple) else None
    if states is None:
        raise ModelStructureError(
            f"{type(base).__name__} returned {type(output).__name__} without a last_hidden_state. "
            "Give a model whose AutoModel class is a text encoder or decoder."
        )
    return states.detach().to("cpu", copy=True)
