"""One checkpoint of one model: its pooled states, token samples, lens head and ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from shlex import quote
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.errors import MissingShardsError
from actstore.refs import checkpoint_key, look_up
from actstore.store import schema
from actstore.store.arrays.chunked import (
    write_array,
    wrong_layers,
)
from actstore.store.arrays.sharded import Shard, ShardedArray, shards_of
from actstore.store.arrays.text_values import TextValues
from actstore.store.arrays.tokens import TokenisedText, TokenSample, begin_token_sample
from actstore.store.arrays.zarr_metadata import (
    DOCUMENT,
    document_damage,
    group_damage,
    read_attributes,
    sharded_array,
    write_group,
)
from actstore.store.heads.head import LensHead
from actstore.store.heads.head_group import read_head, write_head
from actstore.store.heads.lenses import LensWriter, StoredLens, lens_names, read_lens
from actstore.store.records.damage import Damage
from actstore.store.records.documents import Fields, damaged, is_text, is_whole, is_word, whole_from
from actstore.store.records.journal import Json
from actstore.store.records.ledger import Ledger, ShardStats
from actstore.store.records.plan import SPEC, CheckpointSpec
from actstore.store.shards import MOST_ROWS, ShardBuilder, ShardLayout
from actstore.store.storage import Storage, join
from actstore.store.texts.lengths import RECORDED, TextLengths
from actstore.store.texts.table import TextTable

MODEL: Fields = {
    "model": is_word,
    "max_tokens": is_whole,
    "tokenizer_digest": is_text,
    "rows_per_shard": whole_from(1, MOST_ROWS),
    "rows_per_chunk": whole_from(1, MOST_ROWS),
}
"""What a model's attributes must have."""
_NO_VALUES: Mapping[str, NDArray[np.float32]] = {}
_NORMED = "_normed"
_POOL = "_pool"


class CheckpointGroup:
    """Reads and writes what a store holds of one checkpoint."""

    def __init__(self, storage: Storage, texts: TextTable, prefix: str) -> None:
        self.storage, self.texts, self.prefix = storage, texts, prefix
        self.model_prefix = prefix.rpartition("/")[0]
        attributes = read_attributes(storage, prefix, SPEC)
        self._plan = attributes.get("plan")
        self.spec = CheckpointSpec.from_attributes(attributes)
        model = read_attributes(storage, self.model_prefix, MODEL)
        self.layout = ShardLayout(
            n_layers=len(self.spec.layers),
            rows_per_shard=model["rows_per_shard"],
            rows_per_chunk=model["rows_per_chunk"],
            hidden_size=self.spec.hidden_size,
            dtype=self.spec.dtype,
            precision=self.spec.precision,
        )
        key = join(prefix, DOCUMENT)
        if checkpoint_key(self.spec.checkpoint) != prefix.rpartition("/")[2]:
            raise damaged(storage, key, f"it is of the checkpoint {self.spec.checkpoint!r}")
        if what := self.layout.problem():
            raise damaged(storage, key, f"no states are stored as {what}")
        self.lengths = TextLengths(storage, self.model_prefix, self.layout.rows_per_shard)
        self.ledger = Ledger(storage, prefix, self.spec.digest())
        self._arrays: dict[str, ShardedArray] = {}
        self._values: dict[str, TextValues] = {}

    @property
    def model(self) -> str:
        return self.spec.model

    @property
    def checkpoint(self) -> str:
        return self.spec.checkpoint

    @property
    def layers(self) -> tuple[int, ...]:
        return self.spec.layers

    def poolings(self) -> list[str]:
        """The poolings that arrays were begun for."""
        names = self.storage.names(self.prefix)
        return [name.removesuffix(_POOL) for name in names if name.endswith(_POOL)]

    def stored_pooling(self, pooling: str) -> str:
        """The pooling whose array holds `pooling`: where there is no final norm, the raw one."""
        return pooling if self.spec.has_final_norm else pooling.removesuffix(_NORMED)

    def text_values(self) -> list[str]:
        """The text values (`prompt_entropy`, …) that arrays were begun for."""
        return [name for name in self.storage.names(self.prefix) if name in schema.TEXT_VALUES]

    def begin_poolings(self, poolings: Iterable[str]) -> None:
        """Create the arrays of some poolings; lengthen all there are to the texts there are."""
        self._begin({self.stored_pooling(name) for name in poolings}, set())

    def begin_text_values(self, names: Iterable[str]) -> None:
        """Create the arrays of some text values; lengthen all there are to the texts there are.

        Raises UnknownNameError for one that the store's format does not have.
        """
        values = set(names)
        for name in values:
            self._text_values(name)
        self._begin(set(), values)

    def _begin(self, poolings: set[str], values: set[str]) -> None:
        """Arrays over texts must be equally long, or xarray would not open them as one dataset."""
        n_rows = self.texts.end()
        self._begin_layers()
        for pooling in sorted(poolings | set(self.poolings())):
            self._array(pooling).begin(n_rows, schema.POOLED.dims, _pooled_attributes(pooling))
        for name in sorted(values | set(self.text_values())):
            self._text_values(name).begin(n_rows)
        self._write_document()

    def _begin_layers(self) -> None:
        """The layers' numbers, for other readers of Zarr: again where a repair removed them."""
        prefix = join(self.prefix, schema.LAYER.name)
        if not self.storage.exists(join(prefix, DOCUMENT)):
            layers = np.array(self.layers, schema.LAYER.dtype)
            write_array(self.storage, prefix, layers, schema.LAYER.dims, len(layers))

    def _documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Where the documents of arrays over texts are, and how they begin, without any rows."""
        for pooling in self.poolings():
            attributes = _pooled_attributes(pooling)
            document = sharded_array(self.layout, 0, schema.POOLED.dims, attributes)
            yield self._array(pooling).prefix, document
        for name in self.text_values():
            values = self._text_values(name)
            yield values.prefix, values.document(0)

    def committed_values(self, name: str) -> set[int]:
        """The shards of a text value that are done, as the ledger says now."""
        return self._text_values(name).committed()

    def committed(self, pooling: str) -> set[int]:
        """The shards of a pooling that are done, as the ledger says now."""
        return self._array(pooling).committed()

    def todo(self, rows: NDArray[np.int64], poolings: Sequence[str]) -> list[Shard]:
        """The shards that hold any of `rows` and are not done for all of `poolings`.

        Nor are they done while the lengths of their texts are missing.
        """
        done = [self.committed(pooling) for pooling in poolings]
        done.append(self.lengths.present())
        shards = shards_of(rows, self.texts.rows(), self.layout.rows_per_shard)
        return [s for s in shards if not all(s.index in d for d in done)]

    def new_builder(self) -> ShardBuilder:
        return ShardBuilder(self.layout)

    def commit(
        self,
        shard: Shard,
        builders: Mapping[str, ShardBuilder],
        n_tokens: NDArray[np.int32],
        truncated: NDArray[np.bool_],
        stats: ShardStats,
        values: Mapping[str, NDArray[np.float32]] = _NO_VALUES,
    ) -> None:
        """Write a shard of some poolings and text values, and make it count.

        n_tokens, truncated: (rows in the shard,), for `shard.rows` in order; values, by name:
        (layer, rows in the shard) likewise, NaN where undefined.
        """
        lengths = self.lengths.write(shard.index, shard.positions, n_tokens, truncated)
        plan, content = self.spec.digest(), self._hashes(shard.rows)
        pooled = [
            self._array(pooling).commit(shard, builder, plan, content, stats)
            for pooling, builder in builders.items()
        ]
        of_texts = [
            self._text_values(name).commit(shard, numbers, plan, content, stats)
            for name, numbers in values.items()
        ]
        records = [record for record in (*pooled, *of_texts) if record is not None]
        self.ledger.record([{**record, RECORDED: lengths} for record in records])

    def read(
        self,
        pooling: str,
        layer: int,
        rows: NDArray[np.integer[Any]],
        dtype: str = "float32",
        threads: int | None = None,
    ) -> NDArray[Any]:
        """Pooled states of some rows at one layer: (n, hidden).

        Rows may come in any order and repeat. threads: how many shards are read at once; None: one
        on a disk, more over a network. Raises UnknownNameError for a pooling or layer that
        is not stored, MissingShardsError for rows that were never extracted, CorruptShardError
        for bytes that fail their checksum.
        """
        rows = np.asarray(rows, np.int64)
        index = self._layer_index(layer)
        unique, inverse = np.unique(rows, return_inverse=True)
        self.require(pooling, unique)
        out = np.empty((len(unique), self.spec.hidden_size), dtype)
        self._array(pooling).read(index, unique, out, threads)
        return out if np.array_equal(unique, rows) else out[inverse]

    def require(self, pooling: str, rows: NDArray[np.int64]) -> None:
        """Raise UnknownNameError or MissingShardsError unless these rows can be read."""
        again = f"actstore extract {self.storage.url} {self._options} --pooling {pooling}"
        stored = self.stored_pooling(pooling)
        look_up("stored pooling", stored, self.poolings(), f"Add it: {again}")
        self._require_none(self._array(pooling).missing(rows), f"pooling {pooling}", again)

    def read_values(
        self, name: str, layer: int, rows: NDArray[np.integer[Any]]
    ) -> NDArray[np.float32]:
        """A text value of some rows at one layer: (n,); NaN where it is undefined for a text.

        Rows may come in any order and repeat. Raises as `read` does.
        """
        values: NDArray[np.float32] = self.read_value_layers(name, [layer], rows)[0]
        return values

    def read_value_layers(
        self, name: str, layers: Sequence[int], rows: NDArray[np.integer[Any]]
    ) -> NDArray[np.float32]:
        """A text value of some rows at some layers, (layer, n), as `read_values` does."""
        wanted = np.asarray(rows, np.int64)
        indices = [self._layer_index(layer) for layer in layers]
        self.require_values(name, wanted)
        return self._text_values(name).read(indices, wanted)

    def require_values(self, name: str, rows: NDArray[np.int64]) -> None:
        """Raise UnknownNameError or MissingShardsError unless these rows have the text value."""
        poolings = f" --pooling {','.join(self.poolings())}" if self.poolings() else ""
        again = f"actstore extract {self.storage.url} {self._options}{poolings} --token-metrics"
        look_up("stored text value", name, self.text_values(), f"Add it: {again}")
        self._require_none(self._text_values(name).missing(rows), name, again)

    def begin_token_sample(self, name: str, texts: Sequence[TokenisedText]) -> TokenSample:
        """Create a token-level sample, or join the one of the same texts."""
        sample = begin_token_sample(self.ledger, self.spec, name, texts)
        self._write_document()
        return sample

    def token_samples(self) -> list[str]:
        """The token-level samples that were begun; one killed while it was created is none."""
        prefix = join(self.prefix, "tokens")
        names = self.storage.names(prefix)
        return [name for name in names if self.storage.exists(join(prefix, name, DOCUMENT))]

    def token_sample(self, name: str) -> TokenSample:
        """A token-level sample. Raises UnknownNameError."""
        add = f"actstore extract {self.storage.url} {self._options} --tokens 200"
        look_up("token sample", name, self.token_samples(), f"Add one: {add}")
        return TokenSample(self.ledger, self.spec, name)

    @property
    def head_prefix(self) -> str:
        return join(self.prefix, "head")

    def has_head(self) -> bool:
        return self.storage.exists(join(self.head_prefix, DOCUMENT))

    def write_head(self, head: LensHead) -> None:
        """Store the lens head; it exists once its group's document is written, last."""
        write_head(self.storage, self.head_prefix, head)
        self._write_document()

    def head(self) -> LensHead:
        """The lens head.

        Raises MissingShardsError where none was stored, CorruptShardError for a damaged one.
        """
        if not self.has_head():
            raise MissingShardsError(
                f"{self.storage.url} has no lens head of {self.model} at {self.checkpoint}. "
                f"Run: actstore extract {self.storage.url} {self._options} --lens-head"
            )
        head = read_head(self.storage, self.head_prefix)
        if head.width != self.spec.hidden_size:
            what = f"it takes states of {head.width} values, not {self.spec.hidden_size}"
            raise damaged(self.storage, join(self.head_prefix, DOCUMENT), what)
        return head

    def lenses(self) -> list[str]:
        """The fitted lenses that are stored."""
        return lens_names(self)

    def lens(self, name: str) -> StoredLens:
        """A fitted lens.

        Raises UnknownNameError for none of that name, PlanMismatchError for one fitted to states
        or a head that have changed since, CorruptShardError for a damaged one.
        """
        return read_lens(self, name)

    def finish_lens(self, lens: LensWriter, fitted: Mapping[str, Json]) -> None:
        """Make a lens count, all of whose layers are written. fitted: how, and to what."""
        lens.finish(fitted)
        self._write_document()

    def damage(self, *, quick: bool) -> Iterator[Damage]:
        """What is wrong with the documents of the checkpoint and of its arrays.

        Of arrays they matter to other readers of Zarr alone; beginning them writes them again.
        """
        del quick  # they are small
        if self._plan != self.spec.digest():
            what = "its plan is not the one it names"
            yield Damage(join(self.prefix, DOCUMENT), what, remade=False)
        for prefix, document in self._documents():
            yield from document_damage(self.storage, prefix, document, self.texts.end())
        layer = join(self.prefix, schema.LAYER.name)
        if wrong := wrong_layers(self.storage, self.prefix, self.layers):
            yield Damage(join(layer, DOCUMENT), wrong, remade=True)
        yield from group_damage(self.storage, self.prefix)

    def sharded_array(self, name: str) -> ShardedArray | TextValues:
        """An array by its name in commit records: `mean_pool`, `tokens/sample/states`, …"""
        if name.startswith("tokens/"):
            return self.token_sample(name.split("/")[1]).array
        if name.endswith(_POOL):
            return self._array(name.removesuffix(_POOL))
        return self._text_values(name)

    def content(self, name: str, rows: NDArray[np.int64]) -> bytes:
        """What identifies the texts in a range of rows: their hashes, or their token ids."""
        if name.startswith("tokens/"):
            return self.token_sample(name.split("/")[1]).content(rows)
        return self._hashes(np.intersect1d(rows, self.texts.rows(), assume_unique=True))

    def _hashes(self, rows: NDArray[np.int64]) -> bytes:
        return self.texts.hashes_of(rows).tobytes()

    @property
    def _options(self) -> str:
        return f"--model {quote(self.model)} --checkpoints {quote(self.checkpoint)}"

    def _array(self, pooling: str) -> ShardedArray:
        name = self.stored_pooling(pooling) + _POOL
        return self._arrays.setdefault(name, ShardedArray(self.ledger, name, self.layout))

    def _text_values(self, name: str) -> TextValues:
        look_up("text value", name, list(schema.TEXT_VALUES), "See docs/store-format.md.")
        layout = self.layout
        new = TextValues(self.ledger, name, layout.n_layers, layout.rows_per_shard)
        return self._values.setdefault(name, new)

    def _require_none(self, missing: Sequence[int], what: str, again: str) -> None:
        """Raise MissingShardsError for shards that are missing."""
        if missing:
            size = self.layout.rows_per_shard
            raise MissingShardsError(
                f"{self.storage.url} has no rows {missing[0] * size}:{(missing[0] + 1) * size} of "
                f"{self.model} at {self.checkpoint}, {what} ({len(missing)} shards "
                f"of those asked for are missing). Run: {again}"
            )

    def _layer_index(self, layer: int) -> int:
        known = [str(one) for one in self.layers]
        add = "A checkpoint's layers are chosen once: extract it into another store with --layers."
        look_up("stored layer", str(layer), known, add)
        return self.layers.index(layer)

    def _write_document(self) -> None:
        write_group(self.storage, self.prefix, self.spec.to_attributes(), consolidate=True)


def _pooled_attributes(pooling: str) -> dict[str, Json]:
    return {"pooling": pooling, "unit": schema.POOLED.unit}
