"""Token-level samples: the states of every token of chosen texts, at every layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from actstore.errors import CorruptShardError, MissingShardsError, PlanMismatchError
from actstore.refs import look_up
from actstore.store import schema
from actstore.store.arrays.chunked import (
    array_digest,
    read_array,
    write_array,
    wrong_chunk,
    wrong_layers,
)
from actstore.store.arrays.sharded import Shard, ShardedArray, shards_of
from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
    group_damage,
    read_attributes,
    write_group,
)
from actstore.store.records.damage import Damage
from actstore.store.records.documents import Fields, damaged, is_text, table_of, whole_from
from actstore.store.records.journal import Json
from actstore.store.records.ledger import Ledger, ShardStats
from actstore.store.records.plan import CheckpointSpec
from actstore.store.shards import MOST_ROWS, ShardBuilder, ShardLayout, choose_layout
from actstore.store.storage import join

if TYPE_CHECKING:
    import xarray as xr


AXES = tuple(one.name for one in schema.TOKEN_ARRAYS)
"""The labels of a sample's tokens."""
_FIELDS: Fields = {
    "digests": lambda told: table_of(is_text)(told) and {*AXES} <= {*told},  # type: ignore[misc]
    "tokens_per_shard": whole_from(1, MOST_ROWS),
    "tokens_per_chunk": whole_from(1, MOST_ROWS),
}


@dataclass(frozen=True)
class TokenisedText:
    """One text of a sample; arrays of length n_tokens."""

    row: int
    token_id: NDArray[np.int32]
    is_special: NDArray[np.bool_]
    n_bytes: NDArray[np.int32]


class TokenSample:
    """Reads and writes one token-level sample of one checkpoint."""

    def __init__(self, ledger: Ledger, spec: CheckpointSpec, name: str) -> None:
        self.name, self.spec = name, spec
        self._ledger = ledger
        self._group = join("tokens", name)
        self.prefix = join(ledger.prefix, self._group)
        attributes = read_attributes(ledger.storage, self.prefix, _FIELDS)
        self._digests: Mapping[str, str] = attributes["digests"]
        self.layout = ShardLayout(
            n_layers=len(spec.layers),
            rows_per_shard=attributes["tokens_per_shard"],
            rows_per_chunk=attributes["tokens_per_chunk"],
            hidden_size=spec.hidden_size,
            dtype=spec.dtype,
            precision=spec.precision,
        )
        if what := self.layout.problem():
            key = join(self.prefix, DOCUMENT)
            raise damaged(ledger.storage, key, f"no states are stored as {what}")
        self.array = ShardedArray(ledger, join(self._group, "states"), self.layout)

    @cached_property
    def row(self) -> NDArray[np.int64]:
        """(token,): row of the token's text; -1 on padding."""
        return self._read("row")

    @cached_property
    def position(self) -> NDArray[np.int32]:
        """(token,): place in the text; -1 on padding."""
        return self._read("position")

    @cached_property
    def token_id(self) -> NDArray[np.int32]:
        """(token,): vocabulary id; -1 on padding."""
        return self._read("token_id")

    @cached_property
    def is_special(self) -> NDArray[np.bool_]:
        """(token,): whether the tokenizer added it (CLS, BOS, …)."""
        return self._read("is_special")

    @cached_property
    def n_bytes(self) -> NDArray[np.int32]:
        """(token,): UTF-8 bytes the token stands for."""
        return self._read("n_bytes")

    @cached_property
    def spans(self) -> pd.DataFrame:
        """One line a text: row, start and stop of its tokens on the token axis."""
        starts = np.flatnonzero(self.position == 0)
        used = np.flatnonzero(self.row >= 0)
        if len(self.position) != len(self.row) or not {*starts[:1]} == {*used[:1]}:
            raise damaged(self._ledger.storage, self.prefix, "its labels are of different tokens")
        if not len(starts):
            return pd.DataFrame({"row": self.row[:0], "start": starts, "stop": starts})
        ends = np.append(starts[1:], used[-1] + 1 if len(used) else 0)
        in_use = np.concatenate([[0], np.cumsum(self.row >= 0)])
        lengths = in_use[ends] - in_use[starts]
        return pd.DataFrame({"row": self.row[starts], "start": starts, "stop": starts + lengths})

    def committed(self) -> set[int]:
        return self.array.committed()

    def todo(self) -> list[Shard]:
        """The shards of the token axis that are not done; their `rows` are token positions."""
        used = np.flatnonzero(self.row >= 0)
        done = self.committed()
        shards = shards_of(used, used, self.layout.rows_per_shard)
        return [shard for shard in shards if shard.index not in done]

    def new_builder(self) -> ShardBuilder:
        return ShardBuilder(self.layout)

    def commit(self, shard: Shard, builder: ShardBuilder, stats: ShardStats) -> None:
        """Write a shard and make it count."""
        content = self.content(shard.rows)
        plan = self.spec.digest()
        self._ledger.record([self.array.commit(shard, builder, plan, content, stats)])

    def content(self, tokens: NDArray[np.int64]) -> bytes:
        """What identifies a range of tokens: the ids of those that are in use."""
        ids = self.token_id[tokens[tokens < len(self.token_id)]]
        return ids[ids >= 0].tobytes()

    def states(self, layer: int, start: int, stop: int) -> NDArray[np.float32]:
        """Hidden states of a range of tokens at one layer: (token, hidden).

        Raises MissingShardsError and CorruptShardError as pooled reads do.
        """
        return self.states_of(layer, np.arange(start, stop))

    def states_of(
        self, layer: int, tokens: NDArray[np.int64], dtype: str = "float32"
    ) -> NDArray[Any]:
        """Hidden states of some tokens at one layer: (token, hidden). Raises as `states` does.

        tokens: their places on the token axis, in any order.
        """
        known = [str(one) for one in self.spec.layers]
        look_up("stored layer", str(layer), known, "See: actstore info STORE")
        if missing := self.array.missing(tokens):
            raise MissingShardsError(
                f"{self._ledger.storage.url}: {len(missing)} shards of the token sample "
                f"{self.name!r} of {self.spec.model} at {self.spec.checkpoint} are missing. "
                "Run the same actstore extract command again: it finishes the sample."
            )
        unique, inverse = np.unique(tokens, return_inverse=True)
        out = np.empty((len(unique), self.spec.hidden_size), dtype)
        self.array.read(self.spec.layers.index(layer), unique, out)
        return out if np.array_equal(unique, tokens) else out[inverse]

    def dataset(self) -> xr.Dataset:
        """The sample as a lazy xarray.Dataset: states (layer, token, hidden) and its labels."""
        from actstore.store.arrays.lazy_sample import sample_dataset

        return sample_dataset(self)

    def damage(self, *, quick: bool) -> Iterator[Damage]:
        """What is wrong with the labels of the sample's tokens. Its states have a ledger.

        A sample whose document is gone is begun again, and its labels written: of a damaged one
        that is named as well. quick: that all is there, in its size.
        """
        yield from group_damage(self._ledger.storage, self.prefix)
        found = False
        for name in (schema.LAYER.name, *AXES):
            prefix = join(self.prefix, name)
            wrong = wrong_chunk(self._ledger.storage, prefix)
            if not wrong and not quick:
                wrong = self._wrong(name)
            if wrong:
                found = True
                yield Damage(join(prefix, DOCUMENT), wrong, remade=True)
        if found:
            key = join(self.prefix, DOCUMENT)
            yield Damage(key, "it is of a sample whose labels are damaged", remade=True)

    def _wrong(self, name: str) -> str:
        """What is wrong with the layers' numbers or a label of all tokens; empty for nothing."""
        try:
            if name == schema.LAYER.name:
                return wrong_layers(self._ledger.storage, self.prefix, self.spec.layers)
            self._read(name)
        except CorruptShardError as error:
            return str(error)
        return ""

    def _read(self, name: str) -> NDArray[Any]:
        """A label of all tokens. Raises CorruptShardError unless it is what was written."""
        storage, prefix = self._ledger.storage, join(self.prefix, name)
        try:
            values = read_array(storage, prefix)
        except FileNotFoundError:
            raise damaged(storage, prefix, "it is missing") from None
        if array_digest(values) != self._digests[name]:
            raise damaged(storage, prefix, "it is not the array that was written there")
        declared = next(one for one in schema.TOKEN_ARRAYS if one.name == name)
        if values.ndim != 1 or values.dtype != np.dtype(declared.dtype):
            raise damaged(storage, prefix, f"it is {values.dtype} of shape {values.shape}")
        return values


def begin_token_sample(
    ledger: Ledger, spec: CheckpointSpec, name: str, texts: Sequence[TokenisedText]
) -> TokenSample:
    """Create a sample, or join the one that is there; PlanMismatchError if its texts differ."""
    storage, prefix = ledger.storage, join(ledger.prefix, "tokens", name)
    lengths = np.array([len(text.token_id) for text in texts], np.int64)
    layout = _layout(spec, int(lengths.sum()), int(lengths.max()))
    arrays = _token_axis(texts, lengths, layout.rows_per_shard)
    if storage.exists(join(prefix, "zarr.json")):
        sample = TokenSample(ledger, spec, name)
        _require_same_texts(sample, arrays)
        return sample
    for key, values in arrays.items():
        write_array(storage, join(prefix, key), values, ("token",), rows_per_chunk=1 << 16)
    layers = np.array(spec.layers, schema.LAYER.dtype)
    write_array(storage, join(prefix, "layer"), layers, schema.LAYER.dims, len(layers))
    states = ShardedArray(ledger, join("tokens", name, "states"), layout)
    states.begin(len(arrays["row"]), schema.STATES.dims, {"unit": schema.STATES.unit})
    attributes: dict[str, Json] = {
        "tokens_per_shard": layout.rows_per_shard,
        "tokens_per_chunk": layout.rows_per_chunk,
        "digests": {key: array_digest(values) for key, values in arrays.items()},
    }
    write_group(storage, join(ledger.prefix, "tokens"), {})
    write_group(storage, prefix, attributes, consolidate=True)
    return TokenSample(ledger, spec, name)


def _layout(spec: CheckpointSpec, n_tokens: int, longest: int) -> ShardLayout:
    """As for pooled arrays, but a shard holds at least the longest text."""
    chosen = choose_layout(len(spec.layers), spec.hidden_size, spec.dtype, n_tokens, spec.precision)
    rows = max(chosen.rows_per_shard, 1 << (longest - 1).bit_length())
    return replace(chosen, rows_per_shard=rows)


def _require_same_texts(sample: TokenSample, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise PlanMismatchError unless a stored sample is of the texts of a token axis."""
    if np.array_equal(sample.row, arrays["row"]) and np.array_equal(
        sample.token_id, arrays["token_id"]
    ):
        return
    stored, asked = (np.unique(rows[rows >= 0]) for rows in (sample.row, arrays["row"]))
    shared = np.intersect1d(stored, asked, assume_unique=True)
    raise PlanMismatchError(
        f"Token sample {sample.name!r} of {sample.spec.model} at {sample.spec.checkpoint} was "
        f"begun with other texts: the store has {len(stored)} rows, asked are {len(asked)}, and "
        f"{len(shared)} are in both. Ask for the same texts (the same selection and seed), or "
        "give the sample another name."
    )


def _token_axis(
    texts: Sequence[TokenisedText], lengths: NDArray[np.int64], size: int
) -> Mapping[str, NDArray[Any]]:
    """The token axis: texts one behind the other, none across a shard boundary."""
    starts = _starts(lengths, size)
    place = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    tokens, end = np.repeat(starts, lengths) + place, int(starts[-1] + lengths[-1])

    def axis(values: NDArray[Any], dtype: type, padding: int) -> NDArray[Any]:
        spread: NDArray[Any] = np.full(end, padding, dtype)
        spread[tokens] = values
        return spread

    rows = np.array([text.row for text in texts], np.int64)
    return {
        "row": axis(np.repeat(rows, lengths), np.int64, -1),
        "position": axis(place, np.int32, -1),
        "token_id": axis(np.concatenate([text.token_id for text in texts]), np.int32, -1),
        "is_special": axis(np.concatenate([text.is_special for text in texts]), bool, 0),
        "n_bytes": axis(np.concatenate([text.n_bytes for text in texts]), np.int32, 0),
    }


def _starts(lengths: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Where each text begins on the token axis."""
    starts, end = np.empty(len(lengths), np.int64), 0
    for i, n in enumerate(lengths.tolist()):
        if end % size + n > size:
            end = -(-end // size) * size
        starts[i] = end
        end += n
    return starts
