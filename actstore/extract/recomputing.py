"""Extracting some shards again, without writing, to compare what comes out with what is stored.

Checksums say that bytes are what was written; this says that what was written is what the model
gives. The sample is chosen by a seed, so that another look can be at the same shards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.errors import InvalidInputError
from actstore.extract.model.load import LoadSettings
from actstore.extract.model.precision import float32_precision
from actstore.extract.model.threads import cpu_threads
from actstore.extract.outline import outline
from actstore.extract.request import ExtractionRequest
from actstore.extract.states.forward import ForwardSettings, pooled_states
from actstore.extract.states.pooling import named_poolings
from actstore.extract.states.token_metrics import TOKEN_METRICS
from actstore.extract.tokens import ShardTokens
from actstore.extract.work import stored_group
from actstore.extract.workers.devices import worker_devices
from actstore.extract.workers.lazy import LazyModel
from actstore.progress import progress
from actstore.refs import model_name
from actstore.store import CheckpointGroup, Shard, Store
from actstore.store.arrays.sharded import shards_of
from actstore.store.records.documents import Fields, is_flag, is_word, one_of, or_none, whole_from
from actstore.store.records.runs import is_extraction, run_events

TOLERANCE = 0.02
"""How far a text's state may be from the stored one, relative to its length (Euclidean), where not
every bit agrees: other devices, kernels and batches round otherwise, and narrow precisions store
less. Weights or texts that are others differ by far more, about 1."""
_FROM_LOG: Fields = {
    "compute_dtype": is_word,
    "batch_tokens": whole_from(1, 1 << 24),
    "attn": one_of(None, "eager", "sdpa", "flash_attention_2", "flash_attention_3"),
    "packed": or_none(is_flag),
    "compile": is_flag,
    "tf32": is_flag,
    "threads": or_none(whole_from(1, 1 << 12)),
}
"""What decides the last bits. Nothing that would run code is taken from a store: of kernels, which
may also be code from the hub (`attn` as `owner/repository`), those of transformers itself."""


@dataclass(frozen=True)
class Recomputed:
    """One array of one shard that was extracted again."""

    model: str
    checkpoint: str
    array: str
    rows: tuple[int, int]
    """Of the shard: the first, and the one behind the last."""
    identical: bool
    """Whether every bit agrees."""
    difference: float
    """The largest of any text and layer, relative to the length of its state (of a text value: to
    its size and 1). NaN where only one of the two is undefined."""

    @property
    def agrees(self) -> bool:
        """Whether the difference is one of rounding."""
        return self.identical or self.difference <= TOLERANCE


@dataclass(frozen=True)
class _Unit:
    group: CheckpointGroup
    shard: int


def recompute(
    store: Store,
    size: str,
    *,
    seed: int,
    model: str | None = None,
    checkpoints: Sequence[str] = (),
    trust_remote_code: bool = False,
    pickled_weights: bool = False,
) -> list[Recomputed]:
    """Extract some committed shards again and compare every pooling and text value of them.

    size: how many (`20`), or how much of all (`0.5%`, at least one). model: as it was extracted,
    by name or folder; None: all, found by what the run log says. Raises InvalidInputError for a
    size that cannot be read, PlanMismatchError where the model is another by now, and what
    loading it raises.
    """
    if model is None and (trust_remote_code or pickled_weights):
        raise InvalidInputError(
            "--trust-remote-code and --pickled-weights run code of a model. Say which model that "
            "is, as otherwise the store would: --model NAME"
        )
    models = store.models() if model is None else [model]
    units = [unit for one in models for unit in _units(store, one, checkpoints)]
    n = min(_sample_size(size, len(units)), len(units))
    chosen = np.random.default_rng(seed).choice(len(units), n, replace=False)
    found: list[Recomputed] = []
    with progress("Extracting again", n, "shards") as advance:
        for _, of_one in groupby(
            (units[place] for place in sorted(chosen.tolist())), lambda unit: unit.group.prefix
        ):
            of_checkpoint = list(of_one)
            request = _request(store, of_checkpoint[0].group, model)
            request = replace(
                request, trust_remote_code=trust_remote_code, pickled_weights=pickled_weights
            )
            for recomputed in _recompute(store, request, of_checkpoint):
                found += recomputed
                advance(1)
    return found


def _units(store: Store, model: str, checkpoints: Sequence[str]) -> Iterator[_Unit]:
    """The shards of which anything pooled is committed."""
    for name in store.select_checkpoints(model, checkpoints):
        group = store.checkpoint(model, name)
        committed = [group.committed(pooling) for pooling in group.poolings()]
        yield from (_Unit(group, shard) for shard in sorted(set().union(*committed)))


def _sample_size(size: str, n_all: int) -> int:
    number = size.removesuffix("%")
    try:
        value = float(number) if size.endswith("%") else int(number)
    except ValueError:
        value = 0
    if value <= 0:
        raise InvalidInputError(f"Cannot read --deep {size!r}. Write 20 (shards) or 0.5% (of all).")
    return max(1, round(n_all * value / 100)) if size.endswith("%") else int(value)


def _request(store: Store, group: CheckpointGroup, model: str | None) -> ExtractionRequest:
    """How the checkpoint was extracted, as far as its plan and the latest run log say."""
    spec = group.spec
    request = ExtractionRequest(
        model=model or spec.model,
        checkpoints=(spec.checkpoint,),
        layers=",".join(map(str, spec.layers)),
        dtype=spec.dtype,
        max_tokens=spec.max_tokens,
        precision=spec.precision,
    )
    for event in reversed(run_events(store.storage)):
        settings = event.get("settings", {})
        if not isinstance(settings, dict) or not is_extraction(settings):
            continue
        if event["event"] == "started" and model_name(str(settings.get("model"))) == spec.model:
            told: dict[str, Any] = {
                k: settings[k] for k in _FROM_LOG if k in settings and _FROM_LOG[k](settings[k])
            }
            return replace(request, model=model or str(settings["model"]), **told)
    return request


def _recompute(
    store: Store, request: ExtractionRequest, units: Sequence[_Unit]
) -> Iterator[list[Recomputed]]:
    """The shards of one checkpoint, one by one."""
    one = outline(request, request.checkpoints[0])
    stored_group(store, one)  # refuses another plan
    device = worker_devices(request.devices)[0]
    load = LoadSettings(device, request.compute_dtype, request.attn, request.pickled_weights)
    settings = ForwardSettings(
        one.layers, one.dtype, request.batch_tokens, request.packed, request.compile
    )
    model = LazyModel(one, load, lm_head=False)
    with ExitStack() as stack:
        stack.enter_context(cpu_threads(request.threads))
        stack.enter_context(float32_precision(request.tf32))
        tokens = stack.enter_context(ShardTokens(store))
        stack.callback(model.release)
        for group, index in ((unit.group, unit.shard) for unit in units):
            size = group.layout.rows_per_shard
            (shard,) = shards_of(np.array([index * size]), group.texts.rows(), size)
            yield _compared(group, shard, model, tokens, settings)


def _compared(
    group: CheckpointGroup,
    shard: Shard,
    model: LazyModel,
    tokens: ShardTokens,
    settings: ForwardSettings,
) -> list[Recomputed]:
    """Every array of one shard that is committed."""
    poolings = [name for name in group.poolings() if shard.index in group.committed(name)]
    values = [n for n in group.text_values() if shard.index in group.committed_values(n)]
    token_ids = tokens.of(model.outline, shard).token_ids
    shape = len(settings.layers), len(shard.rows)
    fresh = {n: np.empty((*shape, group.spec.hidden_size), group.spec.dtype) for n in poolings}
    numbers = {name: np.full(shape, np.nan, np.float32) for name in values}
    metrics = [TOKEN_METRICS[name] for name in values]
    forward = pooled_states(
        model.get(), token_ids, shard.rows, named_poolings(poolings), settings, metrics
    )
    for batch in forward:
        for name, states in batch.states.items():
            fresh[name][:, batch.texts] = states
        for name, found in batch.values.items():
            numbers[name][:, batch.texts] = found
    results = []
    for name, states in fresh.items():
        stored = [group.read(name, one, shard.rows, group.spec.dtype) for one in group.layers]
        results.append(_result(group, shard, f"{name}_pool", np.stack(stored), states))
    for name, of_texts in numbers.items():
        told = group.read_value_layers(name, group.layers, shard.rows)
        results.append(_result(group, shard, name, told, of_texts))
    return results


def _result(
    group: CheckpointGroup, shard: Shard, array: str, stored: NDArray[Any], fresh: NDArray[Any]
) -> Recomputed:
    """stored, fresh: (layer, text, hidden), or (layer, text) of a text value."""
    identical = np.array_equal(stored, fresh, equal_nan=True)
    difference = 0.0 if identical else _difference(stored, fresh)
    rows = shard.start, shard.stop
    return Recomputed(group.model, group.checkpoint, array, rows, identical, difference)


def _difference(stored: NDArray[Any], fresh: NDArray[Any]) -> float:
    """See `Recomputed.difference`."""
    stored, fresh = stored.astype(np.float64), fresh.astype(np.float64)
    if stored.ndim == 3:
        lengths = np.linalg.norm(fresh, axis=-1)
        apart = np.linalg.norm(stored - fresh, axis=-1) / np.maximum(lengths, np.finfo(float).tiny)
    else:
        apart = np.abs(stored - fresh) / (np.abs(fresh) + 1)
        apart[np.isnan(stored) & np.isnan(fresh)] = 0.0
    return float(apart.max())  # NaN if any is
