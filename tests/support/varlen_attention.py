"""Variable-length attention in plain torch, under the contract of flash attention in transformers.

It lets a CPU run what a GPU with flash_attention_2 runs: texts one behind the other, told apart by
nothing but their cumulated lengths.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import flash_attention_mask

NAME = "varlen_reference"


def register_varlen_attention() -> None:
    """Make the attention known to transformers as NAME."""
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, flash_attention_mask)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    is_causal: bool | None = None,
    cu_seq_lens_q: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """query, key, value: (text, head, token, channel). Returns (text, token, head, channel)."""
    causal = bool(getattr(module, "is_causal", False) if is_causal is None else is_causal)
    groups = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
    out = torch.zeros_like(query)
    for text, span in _spans(query, attention_mask, cu_seq_lens_q):
        q, k, v = (states[text, :, span] for states in (query, key, value))
        out[text, :, span] = nn.functional.scaled_dot_product_attention(
            q[None], k[None], v[None], is_causal=causal, scale=scaling
        )[0]
    return out.transpose(1, 2), None


def _spans(query: Tensor, mask: Tensor | None, bounds: Tensor | None) -> list[tuple[int, slice]]:
    """Which tokens of which row are a text."""
    if bounds is not None:
        assert mask is None
        assert len(query) == 1
        ends = bounds.tolist()
        return [(0, slice(a, b)) for a, b in pairwise(ends)]
    lengths = [query.shape[2]] * len(query) if mask is None else mask.sum(dim=1).tolist()
    return [(text, slice(0, int(n))) for text, n in enumerate(lengths)]
