"""What an extraction will write, known before any weights are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from actstore.errors import DiskSpaceError, InvalidInputError, UnknownTextError
from actstore.extract.checkpoints.resolve import resolve_checkpoints
from actstore.extract.model.flops import forward_flops
from actstore.extract.outline import Outline, outline
from actstore.extract.request import ExtractionRequest
from actstore.extract.sample_tokens import require_usable
from actstore.extract.states.pooling import named_poolings
from actstore.extract.states.token_metrics import TOKEN_METRICS
from actstore.extract.tokens import count_tokens
from actstore.extract.work import ShardWork, require_same_tokens, shard_work, stored_group
from actstore.progress import progress
from actstore.store import ShardLayout, Store
from actstore.store.arrays.sharded import shards_of
from actstore.store.shards import ENCODINGS, choose_layout

_FLOAT32 = 4
"""Bytes."""


@dataclass(frozen=True)
class CheckpointPlan:
    """What is still to be done for one checkpoint."""

    checkpoint: str
    shards_to_do: int
    shards_done: int
    texts_to_do: int
    """Texts in those shards, and in the token sample if it is not begun."""
    bytes_to_write: int
    """At most: a model without final norm stores `mean_normed` and `mean` once."""
    bytes_by_precision: Mapping[str, int]
    """About how many it would be at each precision."""


@dataclass(frozen=True)
class ExtractionPlan:
    """What one extraction reads and writes."""

    model: str
    store: str
    layers: tuple[int, ...]
    poolings: tuple[str, ...]
    dtype: str
    precision: str
    hidden_size: int
    max_tokens: int
    n_texts: int
    """Texts in the shards that hold the texts asked for: shards are extracted whole."""
    n_tokens: int
    n_truncated: int
    """Texts longer than max_tokens."""
    flops: float
    """Floating-point operations of one pass over the texts, at most."""
    checkpoints: tuple[CheckpointPlan, ...]
    free_bytes: int | None
    """On the store's disk; None where that cannot be told."""

    @property
    def bytes_to_write(self) -> int:
        return sum(one.bytes_to_write for one in self.checkpoints)

    @property
    def bytes_by_precision(self) -> dict[str, int]:
        """About how many bytes it would write at each precision."""
        parts = [one.bytes_by_precision for one in self.checkpoints]
        return {name: sum(part[name] for part in parts) for name in ENCODINGS}

    @property
    def texts_to_do(self) -> int:
        return sum(one.texts_to_do for one in self.checkpoints)

    def summary(self) -> str:
        """The plan in words, a few lines."""
        to_do = sum(one.shards_to_do for one in self.checkpoints)
        done = sum(one.shards_done for one in self.checkpoints)
        free = "unknown" if self.free_bytes is None else _size(self.free_bytes)
        names = [one.checkpoint for one in self.checkpoints]
        return "\n".join(
            [
                f"{self.model}: {_count(names)} ({_shortened(names)})",
                f"  {len(self.layers)} layers ({self.layers[0]}..{self.layers[-1]}) x "
                f"{self.hidden_size} values in {self.dtype}, stored {self.precision}, "
                f"poolings {', '.join(self.poolings)}",
                f"  {self.n_texts:,} texts, {self.n_tokens:,} tokens a checkpoint; "
                f"{self.n_truncated:,} texts are cut at {self.max_tokens} tokens",
                f"  about {self.flops:.2g} floating-point operations a checkpoint",
                f"  {to_do:,} shards to do, {done:,} done; writes at most "
                f"{_size(self.bytes_to_write)}, free {free}",
                f"  about {self._sizes()}",
            ]
        )

    def _sizes(self) -> str:
        """What it would take at each precision, its own first."""
        sizes = self.bytes_by_precision
        names = sorted(sizes, key=lambda name: name != self.precision)
        first, *others = (f"{_size(sizes[name])} {name}" for name in names)
        return f"{first}; with another --precision: {', '.join(others)}"


def plan_extraction(store: Store, request: ExtractionRequest) -> ExtractionPlan:
    """What `extract(store, request)` would do. Reads configs and tokenizers, no weights.

    Raises UnknownNameError for what does not exist, PlanMismatchError for arrays that were begun
    under another plan, and DiskSpaceError for what cannot fit.
    """
    outlines = outline_all(request)
    plan = make_plan(store, request, outlines, count=True)
    require_space(plan)
    return plan


def outline_all(request: ExtractionRequest) -> list[Outline]:
    """Every checkpoint of a request, found: what is misspelt is told before anything runs."""
    named_poolings(request.poolings)
    if not request.poolings:
        raise InvalidInputError("Name at least one pooling.")
    found: list[Outline] = []
    names = resolve_checkpoints(request.model, request.checkpoints)
    with progress("Finding checkpoints", len(names), "checkpoints") as advance:
        for name in names:
            found.append(outline(request, name))
            advance(1)
    return found


def make_plan(
    store: Store, request: ExtractionRequest, outlines: Sequence[Outline], *, count: bool
) -> ExtractionPlan:
    """The plan of an extraction whose checkpoints were found; without `count`, tokens are 0."""
    rows, first = wanted_rows(store, request), outlines[0]
    layout = _layout(store, first)
    texts = np.concatenate(
        [shard.rows for shard in shards_of(rows, store.text_rows(), layout.rows_per_shard)]
    )
    n_tokens, truncated = np.zeros(0, np.int32), np.zeros(0, bool)
    if count:
        n_tokens, truncated = count_tokens(store, first, texts)
    sample = _sample_tokens(store, request, first)
    return ExtractionPlan(
        model=request.model,
        store=store.url,
        layers=first.layers,
        poolings=tuple(dict.fromkeys(request.poolings)),
        dtype=request.dtype,
        precision=request.precision,
        hidden_size=first.hidden_size,
        max_tokens=first.max_tokens,
        n_texts=len(texts),
        n_tokens=int(n_tokens.sum()),
        n_truncated=int(truncated.sum()),
        flops=forward_flops(first.source, _depth(first), n_tokens) if count else 0.0,
        checkpoints=tuple(_plan_of(store, request, one, rows, sample) for one in outlines),
        free_bytes=store.storage.free_bytes(),
    )


def require_space(plan: ExtractionPlan) -> None:
    """Raise DiskSpaceError if the plan cannot fit."""
    if plan.free_bytes is not None and plan.bytes_to_write > plan.free_bytes:
        raise DiskSpaceError(
            f"The extraction writes {_size(plan.bytes_to_write)} and {plan.store} has "
            f"{_size(plan.free_bytes)} free.\n{plan.summary()}\n"
            "Choose fewer checkpoints, layers or poolings, --dtype float16, --precision small, "
            "or another disk."
        )


def wanted_rows(store: Store, request: ExtractionRequest) -> NDArray[np.int64]:
    """The rows a request is about, ascending. Raises InvalidInputError if there are none."""
    everything = store.text_rows()
    if not len(everything):
        raise InvalidInputError(
            f"{store.url} holds no texts yet. Run: actstore collect {store.url} --suite SUITE "
            "(or --texts FILE)"
        )
    if request.rows is None:
        return everything
    rows = np.unique(np.asarray(request.rows, np.int64))
    without = np.setdiff1d(rows, everything)
    if len(without) or not len(rows):
        raise UnknownTextError(
            f"{len(without)} of the {len(rows)} rows asked for hold no text, the first: "
            f"{without[:1].tolist()}. {store.url} has {len(everything)} texts, up to row "
            f"{everything[-1]}."
        )
    return rows


def _plan_of(
    store: Store,
    request: ExtractionRequest,
    one: Outline,
    rows: NDArray[np.int64],
    sample_tokens: int,
) -> CheckpointPlan:
    group = stored_group(store, one)
    layout = group.layout if group else _layout(store, one)
    shards = shards_of(rows, store.text_rows(), layout.rows_per_shard)
    if group:
        work = shard_work(group, rows, request)
    else:
        metrics = tuple(TOKEN_METRICS) if request.token_metrics else ()
        work = [ShardWork(shard, tuple(set(request.poolings)), metrics) for shard in shards]
    n_shards = {layout: sum(len(part.poolings) for part in work)}
    n_values = sum(len(part.token_metrics) for part in work) * len(one.layers)
    others = n_values * layout.rows_per_shard * _FLOAT32
    n_texts = sum(len(part.shard.rows) for part in work)
    sample = request.token_sample
    if sample and not (group and sample.name in group.token_samples()):
        tokens = _token_layout(one, sample_tokens)
        n_shards[tokens] = n_shards.get(tokens, 0) + -(-sample_tokens // tokens.rows_per_shard)
        n_texts += len(sample.rows)
    if request.lens_head and one.may_have_head and not (group and group.has_head()):
        others += one.vocabulary_size * one.hidden_size * _FLOAT32
    return CheckpointPlan(
        checkpoint=one.checkpoint,
        shards_to_do=len(work),
        shards_done=len(shards) - len(work),
        texts_to_do=n_texts,
        bytes_to_write=others + sum(n * layout.most_bytes for layout, n in n_shards.items()),
        bytes_by_precision={
            name: others + sum(n * _as(name, layout).likely_bytes for layout, n in n_shards.items())
            for name in ENCODINGS
        },
    )


def _as(precision: str, layout: ShardLayout) -> ShardLayout:
    """The layout a shard of the same rows has at another precision."""
    return replace(layout, precision=precision)


def _depth(one: Outline) -> float:
    """How much of the blocks the highest layer needs: 0 .. 1."""
    return max(one.layers) / one.n_blocks


def _layout(store: Store, one: Outline) -> ShardLayout:
    """The layout of a checkpoint's pooled arrays: a model's shards all have the same rows."""
    n_layers, model = len(one.layers), one.source.model
    begun = store.checkpoints(model) if model in store.models() else []
    if begun:
        other = store.checkpoint(model, begun[0])
        require_same_tokens(other, one)
        sizes = other.layout.rows_per_shard, other.layout.rows_per_chunk
        return ShardLayout(n_layers, *sizes, one.hidden_size, _widest(one), one.precision)
    n_texts = len(store.text_rows())
    return choose_layout(n_layers, one.hidden_size, _widest(one), n_texts, one.precision)


def _sample_tokens(store: Store, request: ExtractionRequest, one: Outline) -> int:
    if request.token_sample is None:
        return 0
    require_usable(one, request.token_sample)
    rows = np.unique(np.asarray(request.token_sample.rows, np.int64))
    return int(count_tokens(store, one, rows)[0].sum())


def _token_layout(one: Outline, n_tokens: int) -> ShardLayout:
    return choose_layout(len(one.layers), one.hidden_size, _widest(one), n_tokens, one.precision)


def _widest(one: Outline) -> str:
    """The dtype to reckon with: `auto` may turn out to be float32."""
    return "float32" if one.dtype == "auto" else one.dtype


def _count(names: Sequence[str]) -> str:
    return "1 checkpoint" if len(names) == 1 else f"{len(names)} checkpoints"


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 6 else f"{names[0]}, {names[1]}, …, {names[-1]}"


def _size(n_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:,.1f} TB"
