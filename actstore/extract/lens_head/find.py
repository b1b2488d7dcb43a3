"""Finding a model's lens head, and proving it by replay.

The head is found by following the data back, from the logits to the output of the last block: each
tensor on the way is either what a module gave or a function, number by number, of one that is. What
was found must then give the model's logits, from the block's output alone, on other input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actstore.errors import HeadReplayError, ModelStructureError
from actstore.extract.lens_head.block_norms import find_block_norms
from actstore.extract.lens_head.steps import Step, elementwise, step_of_call
from actstore.extract.lens_head.trace import Tail, same_numbers, trace_tail
from actstore.extract.model.blocks import ModelStructure, find_structure
from actstore.extract.model.probe import Call, probe_ids
from actstore.store.heads.head import LensHead

Ints = NDArray[np.integer[Any]]
_WITHOUT = "The states do not need it: extract with --no-lens-head, or report the model."
_TF32_ROUNDING = 2.0**-10


def find_head(lm: Any, token_ids: Ints | None = None) -> LensHead | None:
    """The lens head of a transformers model with a language-model head; None if it has none.

    token_ids: (text, token) of real texts without padding, on which the head is replayed (see
    `replay_tokens`); None: a few random tokens. None comes back for an encoder-decoder too: a store
    holds its encoder's layers, and no token is read from those. The norms that the blocks begin
    with come along, where they have some. Copies the unembedding matrix; runs a few forwards of a
    few tokens, and two of the real ones.
    Raises ModelStructureError if a step between the last block and the logits is of no kind we
    know, and HeadReplayError if the steps found do not give the model's logits.
    """
    if lm.get_output_embeddings() is None or lm.config.is_encoder_decoder:
        return None
    structure = find_structure(lm.base_model)
    tail = trace_tail(lm, structure, probe_ids(lm))
    steps = list(_steps_back(lm, tail))[::-1]
    arrays = {name: array for step in steps for name, array in step.arrays.items()}
    head = LensHead(tuple(step.op for step in steps), arrays, max_abs_error=np.inf)
    head = _verified(lm, structure, head, token_ids)
    norms = find_block_norms(lm, structure, _replayed_ids(lm, token_ids))
    arrays |= {name: array for step in norms.values() for name, array in step.arrays.items()}
    ops = {layer: step.op for layer, step in norms.items()}
    return replace(head, arrays=arrays, block_norms=ops)


def verify_head(lm: Any, head: LensHead, token_ids: Ints | None = None) -> LensHead:
    """The head, with its largest error against the model's logits as measured now.

    token_ids: as `find_head` takes them. Raises HeadReplayError if that is more than the rounding
    of the model's dtype explains.
    """
    return _verified(lm, find_structure(lm.base_model), head, token_ids)


def replay_tokens(token_ids: Sequence[Ints], n_texts: int = 4, n_tokens: int = 64) -> Ints | None:
    """The n longest texts cut to one length, (text, token): what `find_head` is to replay.

    Cut to n_tokens, or to the shortest of the chosen. None if no text has a token.
    """
    longest = sorted((ids for ids in token_ids if len(ids)), key=len, reverse=True)[:n_texts]
    if not longest:
        return None
    width = min(n_tokens, len(longest[-1]))
    return np.stack([ids[:width] for ids in longest])


def _verified(
    lm: Any, structure: ModelStructure, head: LensHead, token_ids: Ints | None
) -> LensHead:
    tail = trace_tail(lm, structure, _replayed_ids(lm, token_ids))
    logits = tail.logits.float().numpy()
    error = float(np.abs(head.logits(tail.state.float().numpy()) - logits).max())
    allowed = _allowed_error(tail)
    if not error <= allowed:
        raise HeadReplayError(
            f"The lens head of {type(lm).__name__} ({_written(head)}) gives logits that differ "
            f"from the model's by up to {error:.3g}; {allowed:.3g} is allowed in "
            f"{_name(_coarsest_dtype(tail))}. {_WITHOUT}"
        )
    return replace(head, max_abs_error=error, compute_dtype=_name(_coarsest_dtype(tail)))


def _replayed_ids(lm: Any, token_ids: Ints | None) -> Tensor:
    """The tokens given, else some that the head was not found on."""
    ids = probe_ids(lm)
    if token_ids is None:
        return ids.flip(1)
    return torch.from_numpy(token_ids.astype(np.int64)).to(ids.device)


def _allowed_error(tail: Tail) -> float:
    """1e-4, and two roundings of the largest logit in the coarsest dtype on the way."""
    return 1e-4 + 2 * _rounding(_coarsest_dtype(tail)) * float(tail.logits.abs().max())


def _coarsest_dtype(tail: Tail) -> torch.dtype:
    """Of all between the last block and the logits: some models add up in float32."""
    dtypes = {tensor.dtype for tensor in (tail.state, tail.logits)}
    dtypes |= {call.states_out.dtype for call in tail.calls if call.states_out is not None}
    return max(dtypes, key=_rounding)


def _rounding(dtype: torch.dtype) -> float:
    """Of a product in this dtype, relative: float32 ones may be allowed to be TF32 ones."""
    tf32 = dtype == torch.float32 and torch.backends.cuda.matmul.fp32_precision == "tf32"
    return _TF32_ROUNDING if tf32 else torch.finfo(dtype).eps


def _steps_back(lm: Any, tail: Tail) -> Iterator[Step]:
    """The head's steps, last one first."""
    numbers = list(dict.fromkeys(_numbers(lm.config.to_dict())))
    target, calls = tail.logits, tail.calls
    while not same_numbers(target, tail.state):
        made_by = _maker(target, calls)
        if made_by is None:
            step, target, calls = _functional(lm, target, tail.state, calls, numbers)
        else:
            call = calls[made_by]
            known = step_of_call(call, numbers)
            if known is None or call.states_in is None:
                raise _unknown(lm, f"what {call.path} ({type(call.module).__name__}) does")
            step, target, calls = known, call.states_in, calls[:made_by]
        yield step


def _maker(target: Tensor, calls: tuple[Call, ...]) -> int | None:
    """The call that gave the target."""
    gave = (call.states_out is not None and same_numbers(call.states_out, target) for call in calls)
    return next((i for i, yes in enumerate(gave) if yes), None)


def _functional(
    lm: Any, target: Tensor, state: Tensor, calls: tuple[Call, ...], numbers: list[float]
) -> tuple[Step, Tensor, tuple[Call, ...]]:
    """The step outside any module that gave the target, what it was given, and the calls before."""
    for i in range(len(calls), -1, -1):
        source = calls[i - 1].states_out if i else state
        if source is not None and (op := elementwise(source, target, numbers)) is not None:
            return Step(op, {}), source, calls[:i]
    after = ", ".join(call.path for call in calls) or "nothing"
    raise _unknown(lm, f"the step after {after}, which no module does")


def _numbers(config: object) -> Iterator[float]:
    """Every positive number in a config."""
    if isinstance(config, Mapping):
        for value in config.values():
            yield from _numbers(value)
    elif isinstance(config, int | float) and not isinstance(config, bool) and config > 0:
        yield float(config)


def _unknown(lm: Any, what: str) -> ModelStructureError:
    return ModelStructureError(
        f"Cannot find the lens head of {type(lm).__name__}: between its last block and its "
        f"logits, {what} is none of norm, linear, scale, soft cap or activation. {_WITHOUT}"
    )


def _written(head: LensHead) -> str:
    return " → ".join(op.kind for op in head.ops)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
