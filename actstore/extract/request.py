"""What an extraction is asked to do, and what it did. Pure data: importing this loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = Sequence[int] | NDArray[np.integer[Any]]


@dataclass(frozen=True)
class TokenSampleRequest:
    """Texts of which the states of every token are stored too."""

    name: str
    rows: Rows
    """Their rows in the store."""


@dataclass(frozen=True)
class ExtractionRequest:
    """Which states of which checkpoints are stored, and how they are computed."""

    model: str
    """A hub name (`EleutherAI/pythia-410m`) or a folder."""
    checkpoints: tuple[str, ...] = ("main",)
    """Revisions on the hub, or sub-folders of the folder, as `select_checkpoints` reads them:
    names, globs, ranges, `last:50`, presets."""
    layers: str = "all"
    """`all`, `0,3,6`, `15-23`, `-4:`; 0 is the embedding output, i the output of block i."""
    poolings: tuple[str, ...] = ("mean", "mean_normed")
    rows: Rows | None = None
    """Rows of the texts; None: all of the store's. Their whole shards are extracted."""
    max_tokens: int | None = None
    """Longer texts are cut here; None: the model's longest input."""
    dtype: str = "float16"
    """Of the stored states: float16, float32, or `auto`: float16 where the states are well inside
    its range on a calibration of some texts, else float32."""
    precision: str = "exact"
    """How states are stored: `exact`, `compact` (rounded to 7 bits of fraction and compressed), or
    `small` (8 bits a value, whatever the dtype)."""
    compute_dtype: str = "auto"
    """`auto`: the weights' own dtype on an accelerator, float32 on a CPU."""
    devices: str = "auto"
    """`all`, `cuda:0,1`, `cpu`, `cpu:2` (two processes): a worker process each. `auto`: all
    accelerators, or the CPU; under torchrun or srun this process's own one."""
    device_map: str | None = None
    """Spread one model over all devices, for models larger than one: `auto`, `balanced`, …"""
    threads: int | None = None
    """CPU threads of torch in each worker; None: the cores, shared among the workers here."""
    batch_tokens: int = 16384
    """Most tokens in a batch, padding included."""
    attn: str | None = None
    """transformers' attn_implementation; None: its own choice."""
    packed: bool | None = None
    """Run the texts of a batch one behind the other, without padding, where the model's states stay
    the same; None: with attention kernels made for that (flash_attention_2)."""
    compile: bool = False
    """Compile the blocks with torch.compile."""
    tf32: bool = False
    """Let float32 matrix products round to TF32 on NVIDIA devices."""
    token_sample: TokenSampleRequest | None = None
    token_metrics: bool = False
    """Also store the prompt entropy and the curvature of every text at every layer."""
    lens_head: bool = True
    """Store the lens head of models that have one."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model."""
    pickled_weights: bool = False
    """Read pytorch_model.bin, which can run code, where there are no safetensors."""
    same_weights: bool = False
    """Go on where two checkpoints turn out to hold the same weights."""
    prune_cache: bool = False
    """Delete a finished checkpoint's files from the hub cache."""
    lease_seconds: float = 60.0
    """A worker that gives no sign of life for so long loses its shards to the others."""


@dataclass(frozen=True)
class CheckpointReport:
    """What was done for one checkpoint."""

    checkpoint: str
    shards_written: int
    shards_kept: int
    """Shards that an earlier run had written."""
    n_texts: int
    """Texts run through the model now, those of the token sample included."""
    n_tokens: int
    n_truncated: int
    seconds: float
    lens_head: str
    """`stored`, `kept` from an earlier run, or why there is none."""


@dataclass(frozen=True)
class ExtractionReport:
    """What an extraction did."""

    model: str
    store: str
    checkpoints: tuple[CheckpointReport, ...]
    lost_workers: tuple[str, ...] = ()
    """How workers of this run ended that died; others did their work."""
