"""How much computing a forward pass costs, told from a configuration alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import AutoModel

from actstore.extract.checkpoints.sources import Source
from actstore.extract.model.load import load_config, quiet


def forward_flops(source: Source, depth: float, n_tokens: NDArray[np.integer[Any]]) -> float:
    """Floating-point operations of one pass over some texts, to `depth` (0 .. 1) of the blocks.

    n_tokens: (text,). Two for each weight and token, embeddings apart, and 4 x hidden x tokens² for
    each block's attention; at most: experts of a mixture count in full, a causal mask not at all.
    Source: Kaplan et al. 2020, https://arxiv.org/abs/2001.08361, section 2.1.
    """
    config = load_config(source)
    with quiet(), torch.device("meta"):  # shapes only: nothing is allocated
        model = AutoModel.from_config(config, trust_remote_code=source.trust_remote_code)
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    weights = sum(p.numel() for p in model.parameters() if id(p) not in tables)
    text_config = config.get_text_config()
    squares = float((n_tokens.astype(np.float64) ** 2).sum())
    attention = 4.0 * text_config.num_hidden_layers * text_config.hidden_size * squares
    return float(depth * (2.0 * weights * n_tokens.sum() + attention))
