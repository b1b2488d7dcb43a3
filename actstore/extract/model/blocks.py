"""Where a model's layers are: its blocks and its final norm, found by watching data flow.

No list of architectures: a list of modules counts as the blocks if, in a small forward, each one's
output is what the next one takes in. A module counts as the final norm if it turns the last block's
output into the model's last hidden state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from actstore.errors import ModelStructureError
from actstore.extract.model.placement import device_of
from actstore.extract.model.probe import N_TEXTS, N_TOKENS, Call, Trace, same, watch


@dataclass(frozen=True)
class ModelStructure:
    """A base model's blocks and final norm."""

    base: nn.Module
    blocks: tuple[nn.Module, ...]
    """The distinct block modules. ALBERT runs one of them many times, so there may be fewer than
    `n_blocks`."""
    blocks_path: str
    n_blocks: int
    """Calls of a block in one forward: the model has this many layers, and the embeddings."""
    final_norm: nn.Module | None
    """None where the last block's output is what the model returns, as in BERT."""
    norm_path: str | None
    hidden_size: int


@dataclass(frozen=True)
class _Stack:
    """A list of modules that might be the blocks."""

    path: str
    modules: tuple[nn.Module, ...]

    @property
    def n_parameters(self) -> int:
        return sum(p.numel() for module in self.modules for p in module.parameters())

    def members(self) -> dict[str, nn.Module]:
        """The distinct modules under a path each."""
        distinct = dict.fromkeys(self.modules)
        return {f"{self.path}.{i}": module for i, module in enumerate(distinct)}

    def calls(self, trace: Trace) -> list[Call]:
        """The calls of these modules, in order."""
        mine = {id(module) for module in self.modules}
        return [call for call in trace.calls if id(call.module) in mine]


def find_structure(base: nn.Module) -> ModelStructure:
    """The blocks and the final norm of a base model (no head; the encoder of an encoder-decoder).

    Runs two forwards of a few tokens. Raises ModelStructureError naming the class and what was
    tried, if no stack of modules is a chain as long as the config says or if the model's last
    hidden state comes from something else than one module.
    """
    stacks = list(_stacks(base))
    trace = watch(base, {path: m for stack in stacks for path, m in stack.members().items()})
    stack, last = _the_chain(base, stacks, trace)
    norm_path, norm = _final_norm(base, stack)
    assert last.states_out is not None
    return ModelStructure(
        base=base,
        blocks=tuple(dict.fromkeys(stack.modules)),
        blocks_path=stack.path,
        n_blocks=len(stack.calls(trace)),
        final_norm=norm,
        norm_path=norm_path,
        hidden_size=int(last.states_out.shape[-1]),
    )


def expected_blocks(config: object) -> int | None:
    """The number of blocks a config states, if it does."""
    text_config = getattr(config, "get_text_config", lambda: config)()
    for name in ("num_hidden_layers", "n_layer", "n_layers", "num_layers"):
        if isinstance(value := getattr(text_config, name, None), int):
            return value
    return None


def _stacks(base: nn.Module) -> Iterator[_Stack]:
    for path, module in base.named_modules():
        if isinstance(module, nn.ModuleList | nn.Sequential) and len(module) > 0:
            yield _Stack(path, tuple(module))


def _the_chain(base: nn.Module, stacks: list[_Stack], trace: Trace) -> tuple[_Stack, Call]:
    """The largest stack that is a chain of the expected length, and its last call."""
    expected = expected_blocks(getattr(base, "config", None))
    refused: list[str] = []
    for stack in sorted(stacks, key=lambda s: s.n_parameters, reverse=True):
        calls = stack.calls(trace)
        reason = _why_not(calls, expected)
        if reason is None:
            return stack, calls[-1]
        refused.append(f"{stack.path}: {reason}")
    tried = "; ".join(refused[:6]) or "it has no ModuleList"
    raise ModelStructureError(
        f"Cannot find the blocks of {type(base).__name__}"
        f"{f' (its config says {expected} layers)' if expected else ''}. Tried {tried}. "
        "A model can be extracted if its blocks stand in one list and each takes the output of "
        "the one before, as (text, token, hidden)."
    )


def _why_not(calls: list[Call], expected: int | None) -> str | None:
    """Why these calls are not a model's blocks; None if they are."""
    if not calls:
        return "never called"
    if expected is not None and len(calls) != expected:
        return f"{len(calls)} calls"
    for i, call in enumerate(calls):
        if not _is_states(call.states_in) or not _is_states(call.states_out):
            return f"call {i} does not map (text, token, hidden) to the same"
        if same(call.states_in, call.states_out):
            return f"call {i} changes nothing"
        if i and not same(calls[i - 1].states_out, call.states_in):
            return f"call {i} does not take the output of call {i - 1}"
    return None


def _is_states(states: Tensor | None) -> bool:
    return states is not None and states.shape[:2] == (N_TEXTS, N_TOKENS)


def _final_norm(base: nn.Module, stack: _Stack) -> tuple[str | None, nn.Module | None]:
    """The module between the last block and the last hidden state, or None if there is none."""
    inside = {id(module) for block in stack.modules for module in block.modules()}
    outside = {
        path: module for path, module in base.named_modules() if path and id(module) not in inside
    }
    trace = watch(base, outside | stack.members())
    final = stack.calls(trace)[-1]
    states, returned = final.states_out, trace.last_hidden_state
    assert states is not None
    if same(states, returned):
        return None, None
    after = [c for c in trace.calls[trace.calls.index(final) + 1 :] if same(c.states_in, states)]
    for call in after:
        if same(call.states_out, returned) and _acts_on_single_tokens(call.module, states):
            if returned.shape == states.shape:
                return call.path, call.module
            return None, None  # a projection to another width (OPT-350m) is the head's, not a norm
    raise ModelStructureError(
        f"Cannot find the final norm of {type(base).__name__}: its last hidden state is neither "
        f"the output of the last of {stack.path} nor what one module makes of it "
        f"(modules that take that output: {', '.join(c.path for c in after) or 'none'})."
    )


def _acts_on_single_tokens(module: nn.Module, states: Tensor) -> bool:
    """True if the module gives a token the same vector without the other tokens around."""
    states = states.to(device_of(module))
    rounding = max(1e-3, 4 * torch.finfo(states.dtype).eps)
    with torch.inference_mode():
        one, all_of_them = module(states[:, :1]), module(states)
    return torch.allclose(one, all_of_them[:, :1], rtol=rounding, atol=1e-6)
