"""What a store holds on disk, declared once.

Writers create arrays from these declarations, readers and `verify` check against them, and
`docs/store-format.md` is generated from them (`schema_page.py`). A change here that an older
actstore cannot read is a new FORMAT_VERSION.
"""

from __future__ import annotations

from dataclasses import dataclass

FORMAT_VERSION = 2


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
    all_layers: bool = False
    """In chunks that hold all layers of the rows of one pooled shard."""


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
    "float16, float32; uint8 if small",
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
TEXT_VALUES = {
    one.name: one
    for one in (
        ArrayDeclaration(
            "prompt_entropy",
            ("layer", "text"),
            "float32",
            "nats",
            "entropy of the directions of each text's tokens; NaN where undefined (one token)",
            all_layers=True,
        ),
        ArrayDeclaration(
            "curvature",
            ("layer", "text"),
            "float32",
            "radians",
            "mean angle between each text's steps from token to token; NaN where undefined (fewer "
            "than three tokens)",
            all_layers=True,
        ),
    )
}
"""Numbers of every text, from its token states, by name."""
STATES = ArrayDeclaration(
    "states",
    ("layer", "token", "hidden"),
    "float16, float32; uint8 if small",
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
LENS_WEIGHT = ArrayDeclaration(
    "weight",
    ("layer", "hidden", "hidden_in"),
    "float32",
    "1",
    "weight h + bias estimates the last layer's state of the token whose state at this layer is h",
)
LENS_BIAS = ArrayDeclaration("bias", ("layer", "hidden"), "float32", "model units", "likewise")

GROUPS = (
    GroupDeclaration("", "root; attributes: format_version, created_by, created_at"),
    GroupDeclaration(
        "models/{model}",
        "one model; attributes: model, rows_per_shard, rows_per_chunk, max_tokens, "
        "tokenizer_digest, the same for all its checkpoints. A chunk of the arrays is of the rows "
        "of one pooled shard; it counts once a commit record speaks of it",
        (N_TOKENS, TRUNCATED),
    ),
    GroupDeclaration(
        "models/{model}/{checkpoint}",
        "one checkpoint; attributes: the plan its arrays were made under, and its digest",
        (LAYER, POOLED, *TEXT_VALUES.values()),
    ),
    GroupDeclaration(
        "models/{model}/{checkpoint}/tokens/{sample}",
        "a token-level sample; texts never straddle a shard; attributes: tokens_per_shard, "
        "tokens_per_chunk, and the xxh3-128 of each label of its tokens (`digests`)",
        (LAYER, *TOKEN_ARRAYS, STATES),
    ),
    GroupDeclaration(
        "models/{model}/{checkpoint}/head",
        "the lens head: a program (attribute `ops`) over the arrays in the group, and the norms "
        "that blocks begin with (attribute `block_norms`, by the layer below)",
    ),
    GroupDeclaration(
        "models/{model}/{checkpoint}/lenses/{lens}",
        "a fitted lens, without the last layer, which needs none; attributes: kind, token sample, "
        "digests of the states, the lens head, the split of its texts and each chunk, numbers of "
        "tokens, settings, and by layer the mean KL(final || layer) in bits over texts that it was "
        "not fitted to, with and without it",
        (LAYER, LENS_WEIGHT, LENS_BIAS),
    ),
)

TEXT_COLUMNS = (
    ("row", "int64", "place of the text in every pooled array"),
    ("text", "string", "exactly what the tokenizer gets"),
    ("hash_high", "uint64", "upper half of the text's 128-bit BLAKE2b (UTF-8)"),
    ("hash_low", "uint64", "lower half"),
    ("n_bytes", "int32", "UTF-8 bytes"),
)
SCORE_PLACE = (
    ("model", "string", "as in the model's group"),
    ("checkpoint", "string", "the checkpoint"),
    ("layer", "int", "the layer"),
    ("pooling", "string", "the pooling"),
    ("transform", "string", "what was done to the states before scoring; empty: as stored"),
)
TABLES = (
    TableDeclaration(
        "texts/part-{n}.parquet",
        "the text table, append-only; each part starts at a multiple of 4096 rows; its metadata "
        "holds its seal",
        TEXT_COLUMNS,
    ),
    TableDeclaration(
        "texts/ledger/{writer}.jsonl",
        "what was written of each part; one whose writer died before this is told by its seal, "
        "until the next writer records it",
        (
            ("part", "string", "its name"),
            ("start", "int", "its first row"),
            ("stop", "int", "the row behind its last; there are no gaps within a part"),
            ("n_bytes", "int", "size of its file"),
            ("digest", "string", "xxh3-128 of its file"),
            ("text_bytes", "int", "UTF-8 bytes of its texts"),
            ("at", "float", "seconds since 1970"),
        ),
    ),
    TableDeclaration(
        "tasks/{task}/calls.parquet",
        "what the task encodes, one row for each call, in order",
        (
            ("split", "string", "the split that is scored"),
            ("subset", "string", "the subset that is scored"),
            ("prompt_type", "string", "query, document or empty"),
            (
                "rows",
                "list<int64>",
                "rows of the texts, in order, with repeats; -1: an empty text",
            ),
        ),
    ),
    TableDeclaration(
        "tasks/{task}/{table}.parquet",
        "the task's data as it uses it; `manifest.json`, sealed and written last, says how they "
        "fit together, and of every table's file its size and xxh3-128 (`files`)",
        (),
    ),
    TableDeclaration(
        "views/{name}.parquet",
        "a view set: which texts are views of which others, a line a text and view, by text; how "
        "they were made is JSON in the table's metadata, under `actstore`, beside its seal. While "
        "one is written, `{name}.begun.json` says from which row on texts are new",
        (
            ("row", "int64", "row of the view; one row may be the view of several texts"),
            ("source_row", "int64", "row of the text that it is a view of"),
            ("view", "int32", "which of that text's views, numbered from 0"),
            ("new", "bool", "whether the view came into the store with the set"),
        ),
    ),
    TableDeclaration(
        "models/{model}/vocabulary.parquet",
        "what token ids stand for, one row an id; written once, with a model's first lens head; "
        "its metadata names the `tokenizer_digest` and holds its seal",
        (
            ("id", "int32", "vocabulary id; there may be more than the tokenizer has"),
            ("token", "string", "what the tokenizer decodes it to alone; empty if it has none"),
            ("is_special", "bool", "added by the tokenizer, or no text (CLS, padding, end)"),
            ("is_blank", "bool", "white space, punctuation and control characters only"),
        ),
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
            (
                "lengths",
                "string",
                "of arrays over texts: xxh3-128 of the shard's chunks of `n_tokens` and "
                "`truncated`, one behind the other",
            ),
            ("at", "float", "seconds since 1970"),
        ),
    ),
    TableDeclaration(
        "models/{model}/{checkpoint}/ledger/removed/{writer}.jsonl",
        "commit records that count no more: their shards were removed, to be made again",
        (
            ("array", "string", "which array"),
            ("shard", "int", "which shard of it"),
            ("recorded_at", "float", "`at` of the commit record"),
            ("at", "float", "seconds since 1970"),
        ),
    ),
    TableDeclaration(
        "leases/{hash}.{generation}.lease",
        "which worker is at a unit of work; the highest generation counts, and it is deleted when "
        "the unit is released",
        (
            ("unit", "string", "`{model}/{checkpoint}/…`; `{hash}` is its xxh3-128"),
            ("worker", "string", "a name no other worker has"),
            ("host", "string", "its machine"),
            ("pid", "int", "its process"),
            ("space", "string", "where `pid` counts: host, boot id, pid namespace"),
            ("started", "int or null", "when the process began, in clock ticks since boot"),
            ("since", "float", "when it was claimed, in seconds since 1970"),
            ("renewed_at", "float", "when its holder last gave a sign of life"),
            ("seconds", "float", "how long it lasts after that"),
        ),
    ),
    TableDeclaration(
        "runs/{writer}.jsonl",
        "the log of every run, for people: nothing is decided by it",
        (
            ("at", "float", "seconds since 1970"),
            ("run", "string", "the same in all events of one process of a run"),
            ("event", "string", "started, checkpoint, progress, error, stopped, finished"),
            ("host", "string", "the machine"),
            ("pid", "int", "the process"),
            ("command", "list<string>", "started: the command line"),
            ("settings", "object", "started: what was asked for"),
            ("environment", "object", "started: versions, git revision, machine, variables"),
            ("error", "string", "error: its kind; `message` has the rest"),
            ("model", "string", "error: the model, where it concerns one checkpoint"),
            ("checkpoint", "string", "error: the checkpoint"),
        ),
    ),
    TableDeclaration(
        "experiments/{digest}.yaml",
        "an experiment that was run on the store, everything resolved: `actstore run` takes it",
        (),
    ),
    TableDeclaration(
        "experiments/{digest}.json",
        "where and when it first ran; sealed, written once, behind the YAML",
        (
            ("digest", "string", "xxh3-128 of all its settings, in a canonical order"),
            ("name", "string", "its name"),
            ("yaml_digest", "string", "xxh3-128 of the YAML file"),
            ("at", "float", "seconds since 1970"),
            ("environment", "object", "versions, git revision, machine, variables"),
        ),
    ),
    TableDeclaration(
        "scores/journal/{writer}.jsonl",
        "one record a (model, checkpoint, layer, pooling, transform, task, split, subset); the "
        "latest counts",
        (
            *SCORE_PLACE,
            ("task", "string", "the task"),
            ("task_type", "string", "its type: Classification, STS, …"),
            ("split", "string", "the split that was scored"),
            ("subset", "string", "the subset that was scored"),
            ("main_score", "float", "the task's main score, not rounded"),
            ("in_average", "bool", "whether the suite's mapping counts it in the task's score"),
            ("evaluation_seconds", "float", "what it took, shared equally among subsets"),
            ("mteb_version", "string", "the mteb that scored"),
            ("inputs_digest", "string", "of all that the score depends on"),
            ("environment", "string", "name of a file in `scores/environments/`, or empty"),
            ("at", "float", "seconds since 1970"),
        ),
    ),
    TableDeclaration(
        "scores/leaves/{writer}.jsonl",
        "all scalar scores of a record of the score journal with the same key and time; written "
        "before it",
        (
            *SCORE_PLACE,
            ("task", "string", "the task"),
            ("split", "string", "the split that was scored"),
            ("subset", "string", "the subset that was scored"),
            ("scores", "object", "every scalar mteb gave, by its name"),
            ("at", "float", "seconds since 1970"),
        ),
    ),
    TableDeclaration(
        "scores/environments/{digest}.json",
        "what scores were computed in besides their inputs: threads, versions, platform; sealed",
        (),
    ),
    TableDeclaration(
        "scores/failures/{writer}.jsonl",
        "evaluations that failed; a later score of the same task, model, checkpoint, layer, "
        "pooling and transform clears them",
        (
            *SCORE_PLACE,
            ("task", "string", "the task"),
            ("error", "string", "kind and message"),
            ("traceback", "string", "where it came from"),
            ("at", "float", "seconds since 1970"),
        ),
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
    TableDeclaration(
        "metrics/values/{digest}.npz",
        "numbers of single texts that values are means of: rows, and (text,) a layer and metric; "
        "the archive's comment is its seal",
        (),
    ),
)
