"""SAELens: its caching runner, the token states of all texts at each block as Arrow files.

A run keeps one hook, so every block takes a run of its own; the embeddings' is left out. It joins
the texts to rows of 128 tokens, which need no padding, and reads only as many as fill its last
batch.
"""

from __future__ import annotations

import torch
from datasets import Dataset
from sae_lens import CacheActivationsRunner, CacheActivationsRunnerConfig
from transformers import AutoConfig, AutoTokenizer

from benchmarks.peers.protocol import Meter, Outcome, Task, read_task, report

_ROW_TOKENS = 128


def main() -> None:
    task = read_task()
    blocks = AutoConfig.from_pretrained(task.model).num_hidden_layers
    runs = [run(task, block) for block in range(blocks)]
    total = Outcome(
        cpu_seconds=sum(one.cpu_seconds for one in runs),
        wall_seconds=sum(one.wall_seconds for one in runs),
        peak_bytes=max(one.peak_bytes for one in runs),
        n_tokens=runs[0].n_tokens,
    )
    report(total)


def run(task: Task, block: int) -> Outcome:
    """What keeping the output of one block takes, without loading the model."""
    config = AutoConfig.from_pretrained(task.model)
    n_tokens = _whole_batches(task)
    runner = CacheActivationsRunner(
        CacheActivationsRunnerConfig(
            dataset_path="texts",
            model_name=str(task.model),
            model_class_name="AutoModelForCausalLM",
            model_from_pretrained_kwargs={"dtype": torch.float32},
            hook_name=f"gpt_neox.layers.{block}",
            d_in=config.hidden_size,
            context_size=_ROW_TOKENS,
            training_tokens=n_tokens,
            model_batch_size=task.batch_texts,
            buffer_size_gb=(n_tokens + _ROW_TOKENS) * config.hidden_size * 4 / 1e9,
            new_cached_activations_path=str(task.folder / f"activations-{block}"),
            prepend_bos=False,
            shuffle=False,
            streaming=False,
            device="cpu",
        ),
        override_dataset=Dataset.from_dict({"text": task.read_texts()}),
    )
    meter = Meter()
    rows = runner.run()
    return meter.outcome(len(rows) * _ROW_TOKENS)


def _whole_batches(task: Task) -> int:
    """Tokens of the texts that fill whole batches: with fewer, the runner keeps nothing."""
    tokenizer = AutoTokenizer.from_pretrained(task.model)
    encoded = tokenizer(task.read_texts())["input_ids"]
    batch = task.batch_texts * _ROW_TOKENS
    return sum(map(len, encoded)) // batch * batch


if __name__ == "__main__":
    main()
