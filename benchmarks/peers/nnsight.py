"""nnsight: every block's output through a trace that stops after the last one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from nnsight import TransformersModel, save
from torch import Tensor

from benchmarks.peers.protocol import Batch, mean, read_task, run_batches


def main() -> None:
    task = read_task()
    lm = TransformersModel(
        str(task.model), task="text-generation", dtype=torch.float32, dispatch=True
    )
    places = [lm.gpt_neox.embed_in, *lm.gpt_neox.layers]

    def pooled(batch: Batch) -> Sequence[Tensor]:
        with lm.trace({"input_ids": batch.ids, "attention_mask": batch.mask}) as tracer:
            vectors = save([mean(place.output, batch.mask) for place in places])
            tracer.stop()
        return vectors

    def kept(batch: Batch) -> Sequence[Tensor]:
        with lm.trace({"input_ids": batch.ids, "attention_mask": batch.mask}) as tracer:
            states = save([place.output for place in places])
            tracer.stop()
        return [mean(one, batch.mask) for one in states]

    run_batches(task, lm.tokenizer, kept if task.keep_states else pooled)


if __name__ == "__main__":
    main()
