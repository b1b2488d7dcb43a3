"""What one worker does for one layer: read its states, fit the lenses, judge them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.errors import InvalidInputError
from actstore.metrics.lens.fitted.fit import closed_forms
from actstore.metrics.lens.fitted.moments import (
    RegressionMoments,
    merge_regression_moments,
    regression_moments,
)
from actstore.metrics.lens.fitted.split import Split
from actstore.metrics.lens.fitted.translator import Translator
from actstore.metrics.lens.fitted.tuned import TokenStates, TuningSettings, tune
from actstore.metrics.lens.kernel import lens_values
from actstore.metrics.running.work import one_thread
from actstore.store import CheckpointGroup, Json, LensHead, TokenSample, open_store

_PIECE_BYTES = 32 * 2**20
"""Bound on the states of a piece at one layer, in float64; a worker holds a few copies."""
_DIVERGENCE = "kl_final_to_layer_bits"
_HELD_OUT_TOKENS = 4096
"""By which the tuned lens is stopped."""


@dataclass(frozen=True)
class LayerJob:
    """The lenses of one layer of one checkpoint."""

    url: str
    model: str
    checkpoint: str
    layer: int
    kinds: tuple[str, ...]
    sample: str
    split: Split
    tuning: TuningSettings
    tuned_tokens: int
    seed: int


@dataclass(frozen=True, eq=False)
class FittedLayer:
    """The fitted lenses of one layer, and how good they are."""

    checkpoint: str
    layer: int
    translators: Mapping[str, Translator]
    """By kind, as they are stored: float32."""
    details: Mapping[str, Mapping[str, Json]]
    """By kind: what else there is to say of the fit."""
    n_tokens: Mapping[str, int]
    """By part of the split."""
    kl_without: float
    """Mean KL(final || layer) in bits over the evaluation tokens, without a lens."""
    kl_with: Mapping[str, float]
    """By kind."""

    def without_translators(self) -> FittedLayer:
        """The numbers alone."""
        return replace(self, translators={})


@one_thread
def fit_layer(job: LayerJob) -> FittedLayer:
    """Fit the lenses of one layer to the texts for it, and judge them by the others.

    They are judged as they are stored, in float32.
    """
    group = open_store(job.url).checkpoint(job.model, job.checkpoint)
    reader = _Reader(group, group.token_sample(job.sample), job.layer)
    head = group.head()
    train, held_out = reader.moments(job.split.train), reader.moments(job.split.held_out)
    closed = closed_forms(train, held_out)
    found = dict(closed.translators)
    details: dict[str, dict[str, Json]] = {kind: {} for kind in job.kinds}
    details["affine"] = {"ridge": closed.ridge}
    if "tuned" in job.kinds:
        found["tuned"], details["tuned"] = _tuned(job, reader, found["affine"], head)
    stored = {kind: found[kind].rounded(train) for kind in job.kinds}
    kl, n_evaluation = _mean_kl(reader, job.split.evaluation, list(stored.values()), head)
    return FittedLayer(
        checkpoint=job.checkpoint,
        layer=job.layer,
        translators=stored,
        details=details,
        n_tokens={"train": train.n, "held_out": held_out.n, "evaluation": n_evaluation},
        kl_without=kl[0],
        kl_with=dict(zip(stored, kl[1:], strict=True)),
    )


def _tuned(
    job: LayerJob, reader: _Reader, start: Translator, head: LensHead
) -> tuple[Translator, dict[str, Json]]:
    train = reader.some_tokens(job.split.train, job.tuned_tokens, job.seed)
    held_out = reader.some_tokens(job.split.held_out, _HELD_OUT_TOKENS, job.seed)
    tuned = tune(start, train, held_out, head, job.tuning, job.seed)
    details: dict[str, Json] = {
        "steps": tuned.steps,
        "held_out_kl_before_bits": tuned.start_kl,
        "held_out_kl_bits": tuned.kl,
    }
    return tuned.translator, details


def _mean_kl(
    reader: _Reader, rows: NDArray[np.int64], translators: Sequence[Translator], head: LensHead
) -> tuple[list[float], int]:
    """Mean KL(final || layer) in bits, first as it is, then through each map; number of tokens."""
    total, n = np.zeros(1 + len(translators)), 0
    for layer, final in reader.pieces(rows):
        estimates = [translator(layer).astype(layer.dtype) for translator in translators]
        states = np.stack([layer, *estimates, final])
        values = lens_values(states, head, quantities=(_DIVERGENCE,))[_DIVERGENCE]
        total += values[:-1].sum(axis=1)
        n += len(layer)
    return (total / n).tolist(), n


@dataclass(frozen=True)
class _Reader:
    """The states of a sample's texts at a layer and at the last one."""

    group: CheckpointGroup
    sample: TokenSample
    layer: int

    def pieces(self, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """(token, hidden) at the layer and at the last one, of some whole texts at a time."""
        spans = self.sample.spans
        texts = spans[spans["row"].isin(rows)][["start", "stop"]].to_numpy(np.int64)
        size = max(1, _PIECE_BYTES // (8 * self.group.spec.hidden_size))
        cuts = np.flatnonzero(np.diff(texts[:, 0] // size)) + 1
        for piece in np.split(texts, cuts):
            yield self._states(self.layer, piece), self._states(self.group.spec.n_blocks, piece)

    def moments(self, rows: NDArray[np.int64]) -> RegressionMoments:
        """Of the layer's states and the last one's, over some texts."""
        return reduce(
            merge_regression_moments, (regression_moments(*piece) for piece in self.pieces(rows))
        )

    def some_tokens(self, rows: NDArray[np.int64], limit: int, seed: int) -> TokenStates:
        """The states of so many texts, in a random order, as have about `limit` tokens."""
        spans = self.sample.spans.set_index("row").loc[rows]
        order = np.random.default_rng(seed).permutation(len(rows))
        before = np.cumsum((spans["stop"] - spans["start"]).to_numpy()[order])
        chosen = rows[order[: max(1, int(np.searchsorted(before, limit, side="right")))]]
        parts = zip(*self.pieces(np.sort(chosen)), strict=True)
        layer, final = (np.concatenate(states) for states in parts)
        return TokenStates(layer, final)

    def _states(self, layer: int, texts: NDArray[np.int64]) -> NDArray[np.float32]:
        start, stop = int(texts[0, 0]), int(texts[-1, 1])
        wanted = np.concatenate([np.arange(*text) for text in texts - start])
        states: NDArray[np.float32] = self.sample.states(layer, start, stop)[wanted]
        if broken := int((~np.isfinite(states)).any(axis=1).sum()):
            raise InvalidInputError(
                f"{broken} tokens of the sample {self.sample.name!r} of {self.group.model} at "
                f"{self.group.checkpoint} have states that are not finite at layer {layer}: a "
                f"lens fitted to them would be NaN. Run: actstore verify {self.group.storage.url}"
            )
        return states
