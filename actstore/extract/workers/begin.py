"""Begin a checkpoint in the store, or join what another worker or an earlier run has begun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from actstore.errors import HeadReplayError, ModelStructureError
from actstore.extract.checkpoints.distinct import require_new_weights
from actstore.extract.checkpoints.weights import Weights
from actstore.extract.lens_head.find import find_head, replay_tokens
from actstore.extract.lens_head.vocabulary import decoded_tokens, special_ids
from actstore.extract.outline import Outline, provenance
from actstore.extract.request import ExtractionRequest
from actstore.extract.states.calibrate import choose_dtype
from actstore.extract.states.forward import ForwardSettings
from actstore.extract.states.pooling import named_poolings
from actstore.extract.states.token_metrics import TOKEN_METRICS
from actstore.extract.tokenise import tokenise
from actstore.extract.tokens import ShardTokens
from actstore.extract.work import joined, stored_group
from actstore.extract.workers.lazy import LazyModel
from actstore.store import CheckpointGroup, Store
from actstore.store.heads.vocabulary import has_vocabulary, require_vocabulary_of, write_vocabulary

_NO_HEAD = "the checkpoint has no language-model head"
_PROBE_TEXTS = 64


@dataclass(frozen=True)
class Begun:
    """A checkpoint whose arrays are there, to be filled."""

    one: Outline
    group: CheckpointGroup
    head: str
    """What became of the lens head, for the report."""


def lacks_head(request: ExtractionRequest, one: Outline, stored: CheckpointGroup | None) -> bool:
    """Whether a checkpoint has a lens head that is asked for and not stored yet."""
    return request.lens_head and one.may_have_head and not (stored and stored.has_head())


def begin(
    store: Store,
    request: ExtractionRequest,
    model: LazyModel,
    weights: Weights,
    rows: NDArray[np.int64],
    tokens: ShardTokens,
) -> Begun:
    """Create what a checkpoint lacks: its group, arrays, token sample and lens head.

    One worker at a time may be in here for a checkpoint. The model is loaded only if the checkpoint
    is new or lacks its head. Raises PlanMismatchError if it was begun under another plan,
    InvalidInputError if another checkpoint in the store has the same weights.
    """
    stored = stored_group(store, model.outline)
    if stored is not None:
        one = joined(model.outline, stored)
        spec = one.spec(weights.digest, stored.spec.has_final_norm, {})
    else:
        if not request.same_weights:
            require_new_weights(model.outline.source, weights.digest, _digests(store, model))
        loaded = model.get()
        one = _with_dtype(store, request, model, rows)
        has_norm = loaded.structure.final_norm is not None
        spec = one.spec(
            weights.digest, has_norm, {**provenance(loaded), "weights_files": weights.identity}
        )
    group = store.begin_checkpoint(spec)
    group.begin_poolings(request.poolings)
    if request.token_metrics:
        group.begin_text_values(TOKEN_METRICS)
    if (sample := request.token_sample) is not None:
        group.begin_token_sample(sample.name, tokens.of_sample(one, sample))
    return Begun(one, group, _extract_head(store, request, group, model, rows))


def _digests(store: Store, model: LazyModel) -> dict[str, str]:
    """The weights' digests of the model's checkpoints in the store, by name."""
    name = model.outline.source.model
    known = store.checkpoints(name) if name in store.models() else []
    return {one: store.checkpoint(name, one).spec.weights_digest for one in known}


def _with_dtype(
    store: Store, request: ExtractionRequest, model: LazyModel, rows: NDArray[np.int64]
) -> Outline:
    """The outline with `auto` replaced by the dtype that holds the states of a few texts."""
    one, loaded = model.outline, model.get()
    if one.dtype != "auto":
        return one
    poolings = named_poolings(request.poolings)
    if loaded.structure.final_norm is None:
        poolings = tuple(pooling for pooling in poolings if not pooling.normed)
    settings = ForwardSettings(one.layers, "float32", request.batch_tokens)
    token_ids = _some_tokens(store, one, rows, _PROBE_TEXTS)
    return replace(one, dtype=choose_dtype(loaded, token_ids, poolings, settings))


def _extract_head(
    store: Store,
    request: ExtractionRequest,
    group: CheckpointGroup,
    model: LazyModel,
    rows: NDArray[np.int64],
) -> str:
    """Store the lens head if it is asked for and not stored; says what became of it."""
    if not request.lens_head:
        return "not asked for"
    if group.has_head():
        _keep_vocabulary(store, model.outline)
        return "kept"
    lm = model.get().lm if model.lm_head else None
    if lm is None:
        return _NO_HEAD
    try:
        token_ids = _some_tokens(store, model.outline, rows, _PROBE_TEXTS)
        head = find_head(lm, replay_tokens(token_ids))
    except (ModelStructureError, HeadReplayError) as error:
        return f"not stored: {error}"  # the states are worth keeping without it
    if head is None:
        return _NO_HEAD
    _keep_vocabulary(store, model.outline)
    group.write_head(head)
    return "stored"


def _keep_vocabulary(store: Store, one: Outline) -> None:
    """Store what the model's token ids stand for, unless an earlier checkpoint has."""
    name, digest = one.source.model, one.tokenizer_digest
    if has_vocabulary(store.storage, name):
        require_vocabulary_of(store.storage, name, digest)
        return
    tokens = decoded_tokens(one.tokenizer, max(one.vocabulary_size, len(one.tokenizer)))
    special = special_ids(one.tokenizer)
    write_vocabulary(store.storage, name, tokens, special, digest)


def _some_tokens(
    store: Store, one: Outline, rows: NDArray[np.int64], n: int
) -> Sequence[NDArray[np.int32]]:
    """The token ids of n texts, evenly spread over the rows."""
    places = np.linspace(0, len(rows) - 1, min(n, len(rows))).round().astype(int)
    chosen = rows[np.unique(places)]
    return tokenise(one.tokenizer, store.read_texts(chosen), chosen, one.max_tokens).token_ids
