"""Extracting every layer into a store, against the bare forward of the same model.

    python -m benchmarks.extraction [--texts 1024 --hidden 512 --blocks 6 --repeats 3]

The floor runs the model without its head over the same token ids in the same batches and keeps
nothing. `actstore extract` tokenises, runs, pools every layer twice (mean and mean_normed), checks
for overflow, checksums, writes and flushes. The usual way asks for `output_hidden_states`, in
batches of 32 texts as they come, and pools once on the way out, into
memory; harnesses repeat it for every layer and task.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers

from actstore.extract import ExtractionRequest, TinyPythia, extract, train_tiny_pythia
from actstore.extract.forward import batches
from actstore.stdlib_text import docstrings
from actstore.store import create_store
from benchmarks.timing import Cases, as_table, best_seconds

_MAX_TOKENS = 128


def save_model(folder: Path, hidden: int, blocks: int, texts: list[str]) -> None:
    """A model of Pythia's shape with a tokenizer learnt from the texts, hardly trained."""
    heads = max(4, hidden // 64)
    recipe = TinyPythia(
        blocks=blocks, hidden=hidden, heads=heads, vocabulary=8192, positions=_MAX_TOKENS, steps=1
    )
    train_tiny_pythia(texts, folder, recipe)


def make_cases(folder: Path, texts: list[str]) -> Cases:
    """What is timed; each call starts from texts in memory and a model in the page cache."""
    model = transformers.AutoModel.from_pretrained(folder / "model").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "model")
    tokenizer.pad_token = tokenizer.eos_token
    ids = tokenizer(texts, truncation=True, max_length=_MAX_TOKENS)["input_ids"]
    request = ExtractionRequest(
        str(folder / "model"), max_tokens=_MAX_TOKENS, devices="cpu", lens_head=False
    )

    @torch.inference_mode()
    def bare() -> int:
        runs = batches(np.array([len(one) for one in ids]), request.batch_tokens)
        for run in runs:
            batch = tokenizer.pad({"input_ids": [ids[i] for i in run]}, return_tensors="pt")
            model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        return len(runs)

    @torch.inference_mode()
    def usual() -> np.ndarray:
        vectors = []
        cut = {"truncation": True, "max_length": _MAX_TOKENS}
        for start in range(0, len(texts), 32):
            some = texts[start : start + 32]
            batch = tokenizer(some, return_tensors="pt", padding=True, **cut)
            states = torch.stack(model(**_inputs(batch), output_hidden_states=True).hidden_states)
            mask = batch["attention_mask"][None, :, :, None]
            vectors.append(((states * mask).sum(2) / mask.sum(2)).half().numpy())
        return np.concatenate(vectors, axis=1)

    return {
        "bare forward": bare,
        "actstore extract": _extraction(folder, texts, request),
        "output_hidden_states": usual,
    }


def _extraction(folder: Path, texts: list[str], request: ExtractionRequest) -> Callable[[], object]:
    def run() -> object:
        shutil.rmtree(folder / "store.zarr", ignore_errors=True)
        store = create_store(folder / "store.zarr")
        store.add_texts(texts)
        return extract(store, request)

    return run


def _inputs(batch: transformers.BatchEncoding) -> dict[str, torch.Tensor]:
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=1024)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    texts = list(dict.fromkeys(record.text for record in docstrings()))[: options.texts]
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder) / "model", options.hidden, options.blocks, texts)
        seconds = best_seconds(make_cases(Path(folder), texts), options.repeats)
    title = f"All {options.blocks + 1} layers of {len(texts)} texts, once"
    print(as_table(title, "bare forward", seconds))


if __name__ == "__main__":
    main()
