"""Forward hooks as they are usually written: they keep every layer's states until the pass ends."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from benchmarks.peers.protocol import Batch, mean, read_task, run_batches


def main() -> None:
    task = read_task()
    model = AutoModel.from_pretrained(task.model, dtype=torch.float32).eval()
    states: list[Tensor] = []
    for place in (model.embed_in, *model.layers):
        place.register_forward_hook(
            lambda _, __, output: states.append(output[0] if isinstance(output, tuple) else output)
        )

    def kept(batch: Batch) -> Sequence[Tensor]:
        states.clear()
        model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False)
        return [mean(one, batch.mask) for one in states]

    run_batches(task, AutoTokenizer.from_pretrained(task.model), kept)


if __name__ == "__main__":
    main()
