"""The lens' quantities: what it can say of every token at every layer, listed in one place.

Some come straight out of the pass over the vocabulary (`kernel`); the others are worked out from
those, over depth or with what is known of the tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats
from actstore.metrics.lens.kernel import lens_values
from actstore.refs import look_up
from actstore.store import LensHead


@dataclass(frozen=True)
class LensTokens:
    """What is known of the tokens, besides their states."""

    token_id: NDArray[np.integer[Any]]
    """(token,): vocabulary ids."""
    spans: NDArray[np.int64]
    """(text, 2): each text's first token and the one after its last."""
    gold: NDArray[np.integer[Any]]
    """(token,): the id that should be predicted there, by default the next one; -1 for none."""
    layers: tuple[int, ...]
    """Of the states' layer axis, ascending; the last one is the model's last."""
    blank: NDArray[np.bool_] | None = None
    """(vocabulary,): ids that are only whitespace or punctuation; None where that is not known."""


@dataclass(frozen=True)
class Quantity:
    """A number (or id) of every token at every layer."""

    name: str
    unit: str
    description: str
    derived_from: tuple[str, ...] = ()
    """Other quantities; none for what comes out of the pass over the vocabulary."""
    derive: Callable[[Mapping[str, NDArray[Any]], LensTokens], NDArray[Any]] | None = None
    """From those, each (layer, token, …), to (layer, token)."""


QUANTITIES: dict[str, Quantity] = {}


def register_quantity(quantity: Quantity) -> Quantity:
    """Adds a quantity to QUANTITIES and returns it; its name must be new."""
    if quantity.name in QUANTITIES:
        raise RuntimeError(f"the quantity {quantity.name} is registered twice")
    QUANTITIES[quantity.name] = quantity
    return quantity


def measure(
    states: Floats, tokens: LensTokens, head: LensHead, names: Iterable[str]
) -> dict[str, NDArray[Any]]:
    """Quantities of tokens at all layers, each (layer, token, …), from one pass.

    states: (layer, token, hidden), raw residuals; the last layer given is the final one.
    Raises UnknownNameError for a name that is not in QUANTITIES.
    """
    wanted = [
        look_up("lens quantity", name, list(QUANTITIES), "See docs/metrics.md") for name in names
    ]
    values: dict[str, NDArray[Any]] = dict(lens_values(states, head))
    for name in wanted:
        _derive(name, values, tokens)
    return {name: values[name] for name in wanted}


def _derive(name: str, values: dict[str, NDArray[Any]], tokens: LensTokens) -> None:
    """Work out a quantity, and first what it is made from."""
    quantity = QUANTITIES[name]
    if name in values or quantity.derive is None:
        return
    for source in quantity.derived_from:
        _derive(source, values, tokens)
    values[name] = quantity.derive(values, tokens)


for _name, _description in (
    ("entropy_bits", "entropy of the layer's prediction"),
    ("kl_layer_to_final_bits", "KL(layer || final)"),
    ("kl_final_to_layer_bits", "KL(final || layer)"),
):
    register_quantity(Quantity(_name, "bits", _description))
