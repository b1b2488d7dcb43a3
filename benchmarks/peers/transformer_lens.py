"""TransformerLens: `run_with_cache` of its bridge over the Hugging Face model, stopped early.

The bridge runs attention in its eager form, so that patterns can be hooked; there is no other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.peers.protocol import Batch, mean, read_task, run_batches


def main() -> None:
    task = read_task()
    tokenizer = AutoTokenizer.from_pretrained(task.model)
    model = AutoModelForCausalLM.from_pretrained(task.model, dtype=torch.float32)
    bridge = TransformerBridge.boot_transformers(
        str(task.model), hf_model=model, tokenizer=tokenizer, device="cpu"
    )
    n_blocks = model.config.num_hidden_layers
    names = ["embed.hook_out", *(f"blocks.{i}.hook_out" for i in range(n_blocks))]

    def pooled(batch: Batch) -> Sequence[Tensor]:
        _, cache = bridge.run_with_cache(
            batch.ids,
            attention_mask=batch.mask,
            names_filter=names,
            stop_at_layer=n_blocks,
            logits_to_keep=1,  # stopped after the last block, it would still make all logits
        )
        return [mean(cache[name], batch.mask) for name in names]

    run_batches(task, tokenizer, pooled)


if __name__ == "__main__":
    main()
