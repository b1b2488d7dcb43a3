"""The lengths of texts in tokens, which all checkpoints of a model share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from actstore.store.damage import Damage

if TYPE_CHECKING:
    from actstore.store.store import Store


def model_damage(store: Store, model: str, *, quick: bool) -> Iterator[Damage]:
    """See `Store.model_damage`."""
    del quick
    try:
        store.text_lengths(model)
    except (OSError, ValueError) as error:
        yield Damage(model, str(error), remade=False)
