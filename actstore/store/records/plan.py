"""The plan a checkpoint's arrays are made under, and how two plans are told apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from actstore.errors import PlanMismatchError
from actstore.store.records.documents import (
    Fields,
    is_flag,
    is_table,
    is_text,
    is_whole,
    is_word,
    list_of,
    whole_from,
)
from actstore.store.records.journal import Json
from actstore.store.shards import EXACT, MOST_HIDDEN, MOST_LAYERS


def _are_layers(value: object) -> bool:
    """Numbers of layers, ascending."""
    if not list_of(whole_from(0, MOST_LAYERS), least=1)(value):
        return False
    return value == sorted(set(value))  # type: ignore[call-overload]


SPEC: Fields = {
    "model": is_word,
    "checkpoint": is_word,
    "n_blocks": whole_from(0, MOST_LAYERS),
    "layers": _are_layers,
    "hidden_size": whole_from(1, MOST_HIDDEN),
    "dtype": is_text,
    "max_tokens": is_whole,
    "tokenizer_digest": is_text,
    "weights_digest": is_text,
    "has_final_norm": is_flag,
    "precision": is_text,
    "provenance": is_table,
}
"""What a checkpoint's attributes must have."""


@dataclass(frozen=True)
class CheckpointSpec:
    """What is stored of one checkpoint. Kept in its group's attributes."""

    model: str
    """Its hub name, or the name of its folder."""
    checkpoint: str
    n_blocks: int
    layers: tuple[int, ...]
    """Ascending; 0 is the embedding output."""
    hidden_size: int
    dtype: str
    """Of the stored states: float16 or float32."""
    max_tokens: int
    """Longer texts are cut here."""
    tokenizer_digest: str
    weights_digest: str
    has_final_norm: bool
    """Without one, as BERT, `mean_normed` is `mean` and is stored once."""
    precision: str = EXACT
    """How states are stored: a key of `shards.ENCODINGS`."""
    provenance: Mapping[str, Json] = field(default_factory=dict)
    """Commit hash, versions, device: kept, not compared."""

    def compared(self) -> dict[str, Json]:
        """Everything that two runs must agree on to write the same arrays."""
        fields = asdict(self)
        del fields["provenance"]
        fields["layers"] = list(self.layers)
        return fields

    def digest(self) -> str:
        """Identifies the plan in commit records."""
        canonical = json.dumps(self.compared(), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:32]

    def to_attributes(self) -> dict[str, Any]:
        return {**self.compared(), "plan": self.digest(), "provenance": dict(self.provenance)}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> CheckpointSpec:
        names = cls.__dataclass_fields__
        known = {name: value for name, value in attributes.items() if name in names}
        return cls(**{**known, "layers": tuple(known["layers"])})


def require_same(
    what: str, stored: Mapping[str, Json], asked: Mapping[str, Json], remedy: str
) -> None:
    """Raise PlanMismatchError naming every field in which a plan differs from the stored one."""
    differing = [
        f"{name}: the store has {stored.get(name)!r}, asked is {asked[name]!r}"
        for name in asked
        if stored.get(name) != asked[name]
    ]
    if differing:
        raise PlanMismatchError(
            f"{what} was begun under another plan. {'; '.join(differing)}. {remedy}"
        )
