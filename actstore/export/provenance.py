"""What a file says of itself: units, and where its numbers are from."""

from __future__ import annotations

import datetime
import json

from actstore import __version__
from actstore.store import Store
from actstore.store.arrays.zarr_metadata import (
    read_attributes,
)
from actstore.store.checkpoint import CheckpointGroup

UNITS = {
    "layer": "1",
    "step": "training steps",
    "score": "1",
    "value": "see unit",
    "low": "see unit",
    "high": "see unit",
    "n": "1",
    "n_undefined": "1",
    "n_bytes": "bytes",
    "n_tokens": "tokens",
    "state": "model units",
}
"""By the name of a column or variable."""
MEANINGS = {
    "layer": "0 is the embedding output, i the raw output of block i, before the final norm",
    "step": "the training step that the checkpoint's name states",
    "score": "mteb's main score of the task, by the suite's mapping",
    "value": "of the metric; NaN where it is undefined",
    "low": "lower end of the value's interval",
    "high": "upper end of the value's interval",
    "n": "texts, rows or tokens that the value is over; -1: none",
    "n_undefined": "how many more there were for which it is not defined; -1: none",
    "leaf": "which of the numbers that mteb gives",
    "row": "the text's place in the store",
    "n_tokens": "tokens embedded of the text, after the cut; 0: none",
    "truncated": "whether the text was longer than max_tokens",
    "position": "the token's place in its text",
    "token_id": "vocabulary id",
    "state": "hidden state",
}


def provenance(store: Store, command: str) -> dict[str, str]:
    """Where an export is from, as text. command: what was asked for."""
    made = read_attributes(store.storage, "")["actstore"]
    return {
        "source": f"actstore {__version__}",
        "store": store.url,
        "store_created_by": str(made["created_by"]),
        "store_created_at": str(made["created_at"]),
        "store_format_version": str(made["format_version"]),
        "experiments": ", ".join(one.digest for one in store.experiments()),
        "exported": command,
        "exported_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def plans(groups: list[CheckpointGroup]) -> dict[str, str]:
    """Under which plans states were made: weights, tokenizer, cut, dtype. JSON by checkpoint."""
    told = {group.checkpoint: group.spec.to_attributes() for group in groups}
    return {"model": groups[0].model, "plans": json.dumps(told, sort_keys=True, default=str)}
