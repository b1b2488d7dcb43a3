"""What a store holds on disk, declared once.

Writers create arrays from these declarations, readers and `verify` check against them, and
`docs/store-format.md` is generated from them. A change here that an older actstore cannot read is
a new FORMAT_VERSION.
"""

from __future__ import annotations

from dataclasses import dataclass

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ArrayDeclaration:
    """One Zarr array."""

    name: str
    """Under its group; `{pooling}` and the like stand for names chosen by the user."""
    dims: tuple[str, ...]
    dtype: str
    unit: str
    meaning: str
    sharded: bool = False
    """In shards of all layers (see `shards.py`); otherwise in chunks along the first dimension."""


@dataclass(frozen=True)
class GroupDeclaration:
    """One Zarr group and the arrays in it."""

    path: str
    meaning: str
    arrays: tuple[ArrayDeclaration, ...] = ()


@dataclass(frozen=True)
class TableDeclaration:
    """One Parquet or JSON-lines table."""

    path: str
    meaning: str
    columns: tuple[tuple[str, str, str], ...]
    """Name, type and meaning of each column."""


POOLED = ArrayDeclaration(
    "{pooling}_pool",
    ("layer", "text", "hidden"),
    "float16 or float32",
    "model units",
    "each text's hidden states pooled to one vector; NaN where a row has no text",
    sharded=True,
)
LAYER = ArrayDeclaration(
    "layer",
    ("layer",),
    "int16",
    "1",
    "0 is the embedding output, i the raw output of block i, before the final norm",
)
N_TOKENS = ArrayDeclaration(
    "n_tokens", ("text",), "int32", "tokens", "tokens embedded of each text, after the cut; 0: none"
)
TRUNCATED = ArrayDeclaration(
    "truncated", ("text",), "bool", "1", "whether the text was longer than max_tokens"
)
STATES = ArrayDeclaration(
    "states",
    ("layer", "token", "hidden"),
    "float16 or float32",
    "model units",
    "hidden states of every token of the sample's texts; NaN on padding",
    sharded=True,
)
TOKEN_ARRAYS = (
    ArrayDeclaration("row", ("token",), "int64", "1", "row of the token's text; -1 on padding"),
    ArrayDeclaration("position", ("token",), "int32", "1", "place in the text; -1 on padding"),
    ArrayDeclaration("token_id", ("token",), "int32", "1", "vocabulary id; -1 on padding"),
    ArrayDeclaration("is_special", ("token",), "bool", "1", "added by the tokenizer (CLS, BOS, …)"),
    ArrayDeclaration("n_bytes", ("token",), "int32", "bytes", "UTF-8 bytes the token stands for"),
)

GROUPS = (
    GroupDeclaration("", "root; attributes: format_version, created_by, created_at"),
    GroupDeclaration(
        "models/{model}",
        "one model; attributes: model, rows_per_shard, rows_per_chunk, max_tokens, "
        "tokenizer_digest, the same for all its checkpoints",
        (N_TOKENS, TRUNCATED),
    ),
    GroupDeclaration(
        "models/{model}/{checkpoint}",
        "one checkpoint; attributes: the plan its arrays were made under, and its digest",
        (LAYER, POOLED),
    ),
    GroupDeclaration(
        "models/{model}/{checkpoint}/tokens/{sample}",
        "a token-level sample; texts never straddle a shard",
        (LAYER, *TOKEN_ARRAYS, STATES),
    ),
    GroupDeclaration(
        "models/{model}/{checkpoint}/head",
        "the lens head: a program (attribute `ops`) over the arrays in the group",
    ),
)

TEXT_COLUMNS = (
    ("row", "int64", "place of the text in every pooled array"),
    ("text", "string", "exactly what the tokenizer gets"),
    ("hash_high", "uint64", "upper half of the text's 128-bit BLAKE2b (UTF-8)"),
    ("hash_low", "uint64", "lower half"),
    ("n_bytes", "int32", "UTF-8 bytes"),
)
TABLES = (
    TableDeclaration(
        "texts/part-{n}.parquet",
        "the text table, append-only; each part starts at a multiple of 4096 rows",
        TEXT_COLUMNS,
    ),
    TableDeclaration(
        "tasks/{task}/calls.parquet",
        "what the task encodes, one row for each call, in order",
        (
            ("split", "string", "the split that is scored"),
            ("subset", "string", "the subset that is scored"),
            ("prompt_type", "string", "query, document or empty"),
            ("rows", "list<int64>", "rows of the texts, in order, repeats kept"),
        ),
    ),
    TableDeclaration(
        "tasks/{task}/{table}.parquet",
        "the task's data as it uses it; `manifest.json`, written last, says how they fit together",
        (),
    ),
    TableDeclaration(
        "models/{model}/{checkpoint}/ledger/{writer}.jsonl",
        "commit records: a shard counts as done when its object and its record exist",
        (
            ("array", "string", "which array"),
            ("shard", "int", "which shard of it"),
            ("plan", "string", "digest of the plan"),
            ("rows", "[int, int]", "first row and the one behind the last"),
            ("content", "string", "xxh3-128 of the rows' text hashes, or of the token ids"),
            ("bytes", "int", "size of the shard"),
            ("digest", "string", "xxh3-128 of the shard"),
            ("at", "float", "seconds since 1970"),
        ),
    ),
    TableDeclaration(
        "scores/journal/{writer}.jsonl",
        "one record a (model, checkpoint, layer, pooling, task, split, subset); the latest counts",
        (),
    ),
    TableDeclaration(
        "scores/mteb/",
        "mteb's own TaskResult JSON, as its ResultCache lays it out",
        (),
    ),
    TableDeclaration(
        "metrics/journal/{writer}.jsonl",
        "one record a (model, checkpoint, layer, metric, source); the latest counts",
        (),
    ),
)
