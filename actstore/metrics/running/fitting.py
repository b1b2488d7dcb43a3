"""Fitting lenses to a store's token states: plan, fit layer by layer, judge, write."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

import numpy as np
from dask.delayed import Delayed, delayed

from actstore.addresses import absolute
from actstore.errors import MissingShardsError
from actstore.metrics.lens.fitted.fit import resolve_kinds
from actstore.metrics.lens.fitted.split import Split, split_texts
from actstore.metrics.running.fit_layer import FittedLayer, LayerJob, fit_layer
from actstore.metrics.running.fit_request import LensFit, LensFitReport, LensFitRequest
from actstore.metrics.running.schedule import computing
from actstore.progress import progress
from actstore.store import CheckpointGroup, Json, Store
from actstore.store.heads.lenses import (
    LensWriter,
    head_digest,
    lens_attributes,
    lens_names,
    states_digest,
    why_stale,
)


def fit_lens(store: Store, request: LensFitRequest) -> LensFitReport:
    """Fit lenses to every checkpoint asked for, judge them on other texts, and store them.

    A lens that the store has for the same settings, states and head is kept unless
    `request.overwrite`. A lens counts once all of its layers are written: a run that is stopped
    goes on with the checkpoint it was at. A worker holds one layer at a time: two (hidden, hidden)
    float64 moments and the states of some whole texts, and for the tuned lens those of
    `request.tuned_tokens` tokens.
    Raises UnknownNameError for a kind, checkpoint or sample there is none of, InvalidInputError
    where its texts are too few to be split, and MissingShardsError, with the command that mends
    it, where states or the lens head are missing; all before anything is fitted.
    """
    start = time.perf_counter()
    kinds = resolve_kinds(request.kinds)
    checkpoints: Sequence[str] = store.select_checkpoints(request.model, request.checkpoints)
    if request.share is not None:
        checkpoints = request.share.part(checkpoints)
    groups = store.checkpoint_groups(request.model, checkpoints)
    works = [_work(group, request, kinds) for group in groups]
    todo = {work.group.checkpoint: work for work in works if work.todo}
    _fit(request, todo, store)
    fits = [fit for work in works for fit in _fits(work)]
    return LensFitReport(request.model, tuple(fits), time.perf_counter() - start)


@dataclass
class _Work:
    """The lenses of one checkpoint."""

    group: CheckpointGroup
    request: LensFitRequest
    layers: tuple[int, ...]
    split: Split
    kinds: tuple[str, ...]
    todo: tuple[str, ...]
    done: dict[int, FittedLayer] = field(default_factory=dict)
    """By layer, without the maps, which are written as they come."""
    writers: dict[str, LensWriter] = field(default_factory=dict)

    def jobs(self) -> Iterator[LayerJob]:
        """What there is to do, layer by layer."""
        for layer in self.layers:
            yield LayerJob(
                url=absolute(self.group.storage.url),
                model=self.group.model,
                checkpoint=self.group.checkpoint,
                layer=layer,
                kinds=self.todo,
                sample=self.request.sample,
                split=self.split,
                tuning=self.request.tuning,
                tuned_tokens=self.request.tuned_tokens,
                seed=self.request.seed,
            )

    def take(self, fitted: FittedLayer) -> None:
        """Write the maps of one layer, and after the last one make the lenses count."""
        if not self.writers:
            self.writers = {kind: LensWriter(self.group, kind, self.layers) for kind in self.todo}
        for kind, translator in fitted.translators.items():
            self.writers[kind].put(fitted.layer, translator.weight, translator.bias)
        self.done[fitted.layer] = fitted.without_translators()
        if len(self.done) == len(self.layers):
            for kind, writer in self.writers.items():
                self.group.finish_lens(writer, self._attributes(kind))

    def _attributes(self, kind: str) -> dict[str, Json]:
        """How a lens was fitted, to what, and what it achieved."""
        layers = [self.done[layer] for layer in self.layers]
        found: dict[str, Json] = {
            name: [layer.details[kind][name] for layer in layers]
            for name in layers[0].details[kind]
        }
        return {
            **_settings(self.request, kind, self.split),
            "states": states_digest(self.group, self.request.sample),
            "head": head_digest(self.group),
            "n_texts": {name: len(rows) for name, rows in self.split.parts().items()},
            "n_tokens": dict(layers[0].n_tokens),
            "kl_without_bits": [layer.kl_without for layer in layers],
            "kl_bits": [layer.kl_with[kind] for layer in layers],
            **found,
        }


def _work(group: CheckpointGroup, request: LensFitRequest, kinds: Sequence[str]) -> _Work:
    sample = group.token_sample(request.sample)
    if missing := sample.todo():
        raise MissingShardsError(
            f"The token sample {sample.name!r} of {group.model} at {group.checkpoint} lacks "
            f"{len(missing)} shards. Run the same actstore extract command again: it finishes it."
        )
    if not group.has_head():
        group.head()  # says what to type
    last = group.spec.n_blocks
    layers = tuple(layer for layer in group.layers if layer != last)
    if last not in group.layers or not layers:
        raise MissingShardsError(
            f"A lens maps a layer to the last one, {last}; {group.model} at {group.checkpoint} is "
            f"stored with the layers {', '.join(map(str, group.layers))}. Run, into another store: "
            "actstore extract … --layers all"
        )
    rows = np.sort(sample.spans["row"].to_numpy(np.int64))
    hashes = group.texts.hashes_of(rows)
    split = split_texts(
        rows, hashes["high"], hashes["low"], eval_share=request.eval_share, seed=request.seed
    )
    new = (kind for kind in kinds if not _is_there(group, request, kind, split))
    todo = tuple(kinds) if request.overwrite else tuple(new)
    return _Work(group, request, layers, split, tuple(kinds), todo)


def _is_there(group: CheckpointGroup, request: LensFitRequest, kind: str, split: Split) -> bool:
    """Whether the store has a lens for the same settings, states and head."""
    if kind not in lens_names(group):
        return False
    fitted = lens_attributes(group, kind)
    asked = _settings(request, kind, split)
    return {name: fitted.get(name) for name in asked} == asked and not why_stale(group, fitted)


def _settings(request: LensFitRequest, kind: str, split: Split) -> dict[str, Json]:
    settings: dict[str, Json] = {
        "kind": kind,
        "sample": request.sample,
        "split": split.digest,
        "eval_share": request.eval_share,
        "seed": request.seed,
    }
    if kind == "tuned":
        settings |= {"tuning": asdict(request.tuning), "tuned_tokens": request.tuned_tokens}
    return settings


def _fit(request: LensFitRequest, works: Mapping[str, _Work], store: Store) -> None:
    if not works:
        return
    total = sum(len(work.layers) for work in works.values())
    with (
        computing(request, store) as compute,
        progress(f"Lenses of {request.model}", total, "layer") as advance,
    ):
        fitted: FittedLayer
        for fitted in compute(_graphs(works.values())):
            works[fitted.checkpoint].take(fitted)
            advance(1)


def _graphs(works: Iterable[_Work]) -> Iterator[Delayed]:
    for work in works:
        for job in work.jobs():
            yield delayed(partial(fit_layer, job))()


def _fits(work: _Work) -> Iterator[LensFit]:
    for kind in work.kinds:
        fitted = lens_attributes(work.group, kind)
        yield LensFit(work.group.checkpoint, kind, kind not in work.todo, fitted)
