"""Run an extraction: checkpoint by checkpoint, shard by shard, whatever is not done yet.

Nothing has to be cleaned up when a run ends early, by a signal, a time limit or a power cut: a
shard counts once it is committed, and the next run takes the ones that are not.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from actstore.errors import HeadReplayError, ModelStructureError
from actstore.extract.forward import ForwardSettings
from actstore.extract.head import find_head
from actstore.extract.lazy import LazyModel
from actstore.extract.load import LoadSettings
from actstore.extract.outline import Outline, provenance
from actstore.extract.plan import make_plan, outline_all, require_space, wanted_rows
from actstore.extract.pooled import extract_pooled
from actstore.extract.request import CheckpointReport, ExtractionReport, ExtractionRequest
from actstore.extract.samples import extract_sample
from actstore.extract.sources import digest_of_files, weight_files
from actstore.extract.threads import cpu_threads
from actstore.extract.tokens import ShardTokens, sample_texts
from actstore.extract.work import pooling_work, stored_group
from actstore.store import CheckpointGroup, Store

_NO_HEAD = "the checkpoint has no language-model head"


def extract(store: Store, request: ExtractionRequest) -> ExtractionReport:
    """Store the states that a request asks for and that are not stored yet.

    Everything that can be refused is refused before weights are read: unknown names
    (UnknownNameError), a plan other than the store's (PlanMismatchError), a full disk
    (DiskSpaceError), texts without tokens (InvalidTextError). StateRangeError leaves the shard it
    is found in undone, and those before it done.
    """
    outlines = outline_all(request)
    rows = wanted_rows(store, request)
    require_space(make_plan(store, request, outlines, count=False))
    tokens = ShardTokens(store)
    with cpu_threads(request.threads):
        reports = [_extract_checkpoint(store, request, one, rows, tokens) for one in outlines]
    return ExtractionReport(request.model, store.url, tuple(reports))


def _extract_checkpoint(
    store: Store,
    request: ExtractionRequest,
    one: Outline,
    rows: NDArray[np.int64],
    tokens: ShardTokens,
) -> CheckpointReport:
    start = time.monotonic()
    stored = stored_group(store, one)
    lacks_head = request.lens_head and one.may_have_head and not (stored and stored.has_head())
    model = LazyModel(one, _load_settings(request), lm_head=lacks_head)
    group = _begin(store, request, model, stored)
    forward = ForwardSettings(one.layers, request.dtype, request.batch_tokens)
    work = pooling_work(group, rows, request.poolings)
    tokens.prepare(one, [part.shard for part in work])
    tally = extract_pooled(group, work, model, tokens, forward)
    if asked := request.token_sample:
        texts = sample_texts(store, one, asked)
        tally += extract_sample(group, asked.name, texts, model, forward)
    head = _extract_head(group, request, model)
    model.release()
    return CheckpointReport(
        checkpoint=one.checkpoint,
        shards_written=len(work),
        shards_kept=len(np.unique(rows // group.layout.rows_per_shard)) - len(work),
        n_texts=tally.n_texts,
        n_tokens=tally.n_tokens,
        n_truncated=tally.n_truncated,
        seconds=time.monotonic() - start,
        lens_head=head,
    )


def _load_settings(request: ExtractionRequest) -> LoadSettings:
    return LoadSettings(
        request.devices, request.compute_dtype, request.attn, request.pickled_weights
    )


def _begin(
    store: Store, request: ExtractionRequest, model: LazyModel, stored: CheckpointGroup | None
) -> CheckpointGroup:
    """The checkpoint's group, new or joined; only for a new one the model is loaded."""
    one = model.outline
    weights = digest_of_files(weight_files(one.source, pickled=request.pickled_weights))
    if stored is not None:
        spec = one.spec(weights, stored.spec.has_final_norm, {})
    else:
        loaded = model.get()
        spec = one.spec(weights, loaded.structure.final_norm is not None, provenance(loaded))
    group = store.begin_checkpoint(spec)
    group.begin_poolings(request.poolings)
    return group


def _extract_head(group: CheckpointGroup, request: ExtractionRequest, model: LazyModel) -> str:
    """Store the lens head if it is asked for and not stored; says what became of it."""
    if not request.lens_head:
        return "not asked for"
    if group.has_head():
        return "kept"
    lm = model.get().lm if model.lm_head else None
    if lm is None:
        return _NO_HEAD
    try:
        head = find_head(lm)
    except (ModelStructureError, HeadReplayError) as error:
        return f"not stored: {error}"  # the states are worth keeping without it
    if head is None:
        return _NO_HEAD
    group.write_head(head)
    return "stored"
