"""What a forward pass is said to cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel

from actstore.extract.checkpoints.sources import find_source
from actstore.extract.model.flops import forward_flops
from tests.support.tiny_models import save_tiny_model


@pytest.mark.parametrize("family", ["gpt_neox", "llama", "gpt2"])
def test_the_operations_are_those_that_torch_counts(family: str, tmp_path: Path) -> None:
    folder, n = save_tiny_model(tmp_path, family, lm_head=False), 48
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(input_ids=torch.full((1, n), 9), attention_mask=torch.ones(1, n, dtype=torch.long))
    said = forward_flops(find_source(str(folder), "main"), 1.0, np.array([n]))
    assert said == pytest.approx(counter.get_total_flops(), rel=0.05)


def test_cost_grows_with_depth_and_with_the_square_of_long_texts(tmp_path: Path) -> None:
    source = find_source(str(save_tiny_model(tmp_path, "gpt_neox", lm_head=False)), "main")
    whole = forward_flops(source, 1.0, np.array([64]))
    assert forward_flops(source, 0.5, np.array([64])) == pytest.approx(whole / 2)
    assert whole > 2 * forward_flops(source, 1.0, np.array([32]))
