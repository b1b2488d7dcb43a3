"""What is known of a checkpoint before any weights are read: its shape and its tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from actstore.errors import InvalidInputError, ModelStructureError
from actstore.extract.checkpoints.sources import Source, find_source
from actstore.extract.model.blocks import expected_blocks
from actstore.extract.model.load import (
    LoadedModel,
    device_name,
    library_versions,
    load_config,
    may_have_head,
    resolve_dtype,
)
from actstore.extract.request import ExtractionRequest
from actstore.extract.shared_tokenizers import shared_tokenizer
from actstore.extract.tokenise import choose_max_tokens
from actstore.refs import parse_layers
from actstore.store import CheckpointSpec, Json
from actstore.store.shards import encoding_of


@dataclass(frozen=True)
class Outline:
    """One checkpoint of an extraction, found and read as far as its configuration."""

    source: Source
    tokenizer: Any
    tokenizer_digest: str
    layers: tuple[int, ...]
    n_blocks: int
    hidden_size: int
    vocabulary_size: int
    dtype: str
    """Of the stored states; `auto` until the checkpoint is begun."""
    precision: str
    """How they are stored."""
    max_tokens: int
    may_have_head: bool
    """Whether the checkpoint was saved with a language-model head."""

    @property
    def checkpoint(self) -> str:
        return self.source.checkpoint

    def spec(
        self, weights_digest: str, has_final_norm: bool, provenance: dict[str, Json]
    ) -> CheckpointSpec:
        """What the store compares: two runs that agree on it may fill the same arrays."""
        return CheckpointSpec(
            model=self.source.model,
            checkpoint=self.checkpoint,
            n_blocks=self.n_blocks,
            layers=self.layers,
            hidden_size=self.hidden_size,
            dtype=self.dtype,
            precision=self.precision,
            max_tokens=self.max_tokens,
            tokenizer_digest=self.tokenizer_digest,
            weights_digest=weights_digest,
            has_final_norm=has_final_norm,
            provenance=provenance,
        )


def outline(request: ExtractionRequest, checkpoint: str) -> Outline:
    """Find a checkpoint and read its configuration and tokenizer; no weights.

    Raises UnknownNameError for a model, checkpoint or layer that is not there, InvalidInputError
    for settings that the model cannot meet.
    """
    _require_dtype(request.dtype)
    encoding_of(request.precision)
    source = find_source(request.model, checkpoint, trust_remote_code=request.trust_remote_code)
    config = load_config(source)
    resolve_dtype(request.compute_dtype, config, torch.device("cpu"))
    tokenizer, digest = shared_tokenizer(source)
    n_blocks = expected_blocks(config)
    if n_blocks is None:
        raise ModelStructureError(
            f"The config of {request.model} ({type(config).__name__}) states no number of layers. "
            "Add num_hidden_layers to its config.json."
        )
    text_config = config.get_text_config()
    return Outline(
        source=source,
        tokenizer=tokenizer,
        tokenizer_digest=digest,
        layers=parse_layers(request.layers, n_blocks),
        n_blocks=n_blocks,
        hidden_size=int(text_config.hidden_size),
        vocabulary_size=int(text_config.vocab_size),
        dtype=request.dtype,
        precision=request.precision,
        max_tokens=choose_max_tokens(request.max_tokens, config, tokenizer),
        may_have_head=may_have_head(config),
    )


def provenance(model: LoadedModel) -> dict[str, Json]:
    """Where a checkpoint's states came from; kept with them, not compared."""
    structure, config = model.structure, model.structure.base.config
    versions: dict[str, Json] = dict(library_versions())
    return {
        "commit": model.source.revision,
        **_base_of(model.source),
        "architecture": type(structure.base).__name__,
        "blocks": structure.blocks_path,
        "final_norm": structure.norm_path,
        "attention": getattr(config, "_attn_implementation", None),
        "compute_dtype": str(model.dtype).removeprefix("torch."),
        "float32_products": torch.backends.cuda.matmul.fp32_precision,
        "device": device_name(model.device),
        "threads": torch.get_num_threads(),
        "versions": versions,
    }


def _base_of(source: Source) -> dict[str, Json]:
    """Which model an adapter changes."""
    if source.base is None:
        return {}
    return {"base_model": source.base.model, "base_commit": source.base.revision}


def _require_dtype(dtype: str) -> None:
    if dtype not in ("float16", "float32", "auto"):
        raise InvalidInputError(
            f"Cannot store states as {dtype!r}. Choose --dtype float16, float32 or auto."
        )
