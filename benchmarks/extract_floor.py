"""Extraction against the bare forward, sentence-transformers and the published recipe.

All run in this process, in float32, with the same threads, and cut texts at the same token. An
extraction creates a store, loads the model, tokenises, runs, pools every layer twice (mean and
mean_normed), checks for values out of range, checksums, writes and flushes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from actstore.extract import ExtractionRequest, extract
from actstore.extract.states.forward import batches
from actstore.store import create_store
from actstore.store.shards import choose_layout
from benchmarks.timing import Cases, Row, paired_costs, ratios
from benchmarks.workload import Settings, Workload, make_workload

EXTRACT, FLOOR, RECIPE = "actstore extract", "bare forward", "published recipe"
_BATCH = 32
_RECIPE_SHARE = 8
"""The published recipe gets so many times fewer texts: it takes long for few."""


def floor_rows(settings: Settings) -> list[Row]:
    work = make_workload(settings)
    costs = paired_costs(floor_cases(settings, work), settings.rounds)
    found = ratios(costs[EXTRACT], costs[FLOOR])
    return [
        Row(
            f"all {settings.shape.blocks + 1} layers, mean + mean_normed, to disk, against the "
            f"bare forward ({settings.shape}, {len(work.texts)} texts)",
            "≤ 1.10 x time",
            f"{found.wall:.2f} x time ({found.cpu:.2f} x CPU)",
        )
    ]


def sentence_transformers_rows(settings: Settings) -> list[Row]:
    work = make_workload(settings)
    costs = paired_costs(sentence_transformers_cases(settings, work), settings.rounds)
    found = ratios(costs[EXTRACT], costs["SentenceTransformer.encode"])
    return [
        Row(
            f"the same against SentenceTransformer.encode (last layer, batches of {_BATCH})",
            "≤ 0.75 x CPU",
            f"{found.cpu:.2f} x CPU ({found.wall:.2f} x time)",
        )
    ]


def recipe_rows(settings: Settings) -> list[Row]:
    work = make_workload(settings, max(1, settings.texts // _RECIPE_SHARE))
    cases = recipe_cases(settings, work)
    one_text = recipe_cases(settings, Workload(work.model, work.texts[:1]))
    fixed = {f"{name}, one text": case for name, case in one_text.items()}
    costs = paired_costs({**cases, **fixed}, settings.rounds)
    passes = {
        name: [
            all_ - one for all_, one in zip(costs[name], costs[f"{name}, one text"], strict=True)
        ]
        for name in cases
    }
    found = ratios(passes[RECIPE], passes[EXTRACT])
    return [
        Row(
            "against the published recipe (a truncated model for each layer, arrival order, padded "
            f"to the longest of the call; {len(work.texts)} texts)",
            "≥ 30 x less CPU",
            f"{found.cpu:.0f} x less CPU ({found.wall:.0f} x less time)",
        )
    ]


def floor_cases(settings: Settings, work: Workload) -> Cases:
    """The floor: the base model over the same batches, token ids ready, keeping nothing.

    It gets no mask: padding on the right changes nothing to the left of it in a causal model.
    """
    model = transformers.AutoModel.from_pretrained(work.model, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(work.model)
    runs = planned_batches(settings, tokenizer, work.texts)

    @torch.inference_mode()
    def bare() -> None:
        for ids in runs:
            model(input_ids=ids, use_cache=False)

    return {FLOOR: bare, EXTRACT: extraction(settings, work)}


def sentence_transformers_cases(settings: Settings, work: Workload) -> Cases:
    """`encode` with the model loaded before: it sorts by characters and gives the last layer."""
    transformer = Transformer(str(work.model), max_seq_length=settings.max_tokens)
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")
    encoder = SentenceTransformer(modules=[transformer, pooling], device="cpu")
    return {
        "SentenceTransformer.encode": lambda: encoder.encode(work.texts, batch_size=_BATCH),
        EXTRACT: extraction(settings, work),
    }


def recipe_cases(settings: Settings, work: Workload) -> Cases:
    """How layer-wise scores were published: https://github.com/OFSkean/information_flow.

    For each layer a model cut off after it, which applies the final norm; all texts of a call
    padded on the left to the longest of them. Both cases load their models; what they take for one
    text is left out of the ratio.
    """

    def recipe() -> np.ndarray:
        layers = range(settings.shape.blocks + 1)
        return np.stack([_truncated_at(layer, settings, work) for layer in layers])

    return {RECIPE: recipe, EXTRACT: extraction(settings, work)}


def planned_batches(settings: Settings, tokenizer: Any, texts: list[str]) -> list[torch.Tensor]:
    """Token ids (text, token) of the batches that an extraction of these texts runs."""
    encoded = tokenizer(texts, truncation=True, max_length=settings.max_tokens)["input_ids"]
    shape, request = settings.shape, ExtractionRequest("")
    layout = choose_layout(shape.blocks + 1, shape.hidden, request.dtype, len(texts))
    found = []
    for start in range(0, len(texts), layout.rows_per_shard):
        shard = encoded[start : start + layout.rows_per_shard]
        for run in batches(np.array([len(ids) for ids in shard]), request.batch_tokens):
            padded = tokenizer.pad({"input_ids": [shard[i] for i in run]}, return_tensors="pt")
            found.append(padded["input_ids"])
    return found


def extraction(
    settings: Settings, work: Workload, name: str = "store.zarr"
) -> Callable[[], object]:
    """A whole extraction into an empty store."""
    request = ExtractionRequest(
        str(work.model),
        max_tokens=settings.max_tokens,
        devices="cpu",
        threads=settings.threads,
        lens_head=False,
    )

    def run() -> object:
        return extract(fresh_store(settings.folder / name, work.texts), request)

    return run


def fresh_store(path: Path, texts: list[str]) -> Any:
    """An empty store with these texts."""
    shutil.rmtree(path, ignore_errors=True)
    store = create_store(path)
    store.add_texts(texts)
    return store


@torch.inference_mode()
def _truncated_at(layer: int, settings: Settings, work: Workload) -> np.ndarray:
    """(text, hidden): the final norm's output behind so many blocks, mean over real tokens."""
    model = transformers.AutoModel.from_pretrained(
        work.model, num_hidden_layers=layer, dtype=torch.float32
    ).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(work.model, padding_side="left")
    cut = {"truncation": True, "max_length": settings.max_tokens}
    whole = tokenizer(work.texts, padding=True, return_tensors="pt", **cut)
    vectors = []
    for start in range(0, len(work.texts), _BATCH):
        ids, mask = (whole[key][start : start + _BATCH] for key in ("input_ids", "attention_mask"))
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
        lengths = mask.sum(1).tolist()
        vectors += [one[-n:].mean(0) for one, n in zip(states, lengths, strict=True)]
    return torch.stack(vectors).numpy()
