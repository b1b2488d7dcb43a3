"""What a layer is compared with: another layer, or the same one of another checkpoint."""

from __future__ import annotations

import re
from dataclasses import dataclass

from actstore.errors import InvalidInputError
from actstore.refs import look_up
from actstore.store import CheckpointGroup, Store

KINDS = (
    "previous_layer",
    "last_layer",
    "layer:N",
    "previous_checkpoint",
    "last_checkpoint",
    "checkpoint:NAME",
)


@dataclass(frozen=True)
class Reference:
    """A rule that gives each (checkpoint, layer) another one to be compared with."""

    name: str

    @classmethod
    def named(cls, name: str) -> Reference:
        """Raises InvalidInputError for no rule that we know."""
        fixed = re.fullmatch(r"layer:\d+|checkpoint:.+", name)
        if not fixed:
            known = [kind for kind in KINDS if ":" not in kind]
            if name not in known:
                raise InvalidInputError(
                    f"A layer cannot be compared with {name!r}. Write one of: {', '.join(KINDS)}"
                )
        return cls(name)

    def of(self, store: Store, group: CheckpointGroup, layer: int) -> tuple[str, int] | None:
        """(checkpoint, layer) to compare with; None where there is none, or it is itself.

        Raises UnknownNameError for a checkpoint or layer that is not stored.
        """
        kind, _, which = self.name.partition(":")
        checkpoint: str | None = group.checkpoint
        other: int | None = layer
        if kind in ("previous_checkpoint", "last_checkpoint", "checkpoint"):
            checkpoint = self._checkpoint(store, group, kind, which)
        else:
            other = self._layer(group, layer, kind, which)
        if checkpoint is None or other is None or (checkpoint, other) == (group.checkpoint, layer):
            return None
        return checkpoint, other

    def _checkpoint(
        self, store: Store, group: CheckpointGroup, kind: str, which: str
    ) -> str | None:
        names = store.checkpoints(group.model)
        if kind == "checkpoint":
            return look_up("stored checkpoint", which, names, f"See: actstore info {store.url}")
        place = len(names) - 1 if kind == "last_checkpoint" else names.index(group.checkpoint) - 1
        return names[place] if place >= 0 else None

    def _layer(self, group: CheckpointGroup, layer: int, kind: str, which: str) -> int | None:
        if kind == "layer":
            known = [str(one) for one in group.layers]
            return int(look_up("stored layer", which, known, "See: actstore info STORE"))
        if kind == "last_layer":
            return group.layers[-1]
        place = group.layers.index(layer) - 1
        return group.layers[place] if place >= 0 else None
