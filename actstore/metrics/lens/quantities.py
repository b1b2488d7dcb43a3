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
from actstore.metrics.lens.decoders import FINAL, Decoder
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
    over_depth: bool = False
    """Whether a layer's number depends on the layers below it: all of them are then needed."""


QUANTITIES: dict[str, Quantity] = {}


def register_quantity(quantity: Quantity) -> Quantity:
    """Adds a quantity to QUANTITIES and returns it; its name must be new."""
    if quantity.name in QUANTITIES:
        raise RuntimeError(f"the quantity {quantity.name} is registered twice")
    QUANTITIES[quantity.name] = quantity
    return quantity


def measure(
    states: Floats | Iterable[Floats],
    tokens: LensTokens,
    head: LensHead,
    names: Iterable[str],
    decoder: Decoder = FINAL,
    top_k: int = 5,
) -> dict[str, NDArray[Any]]:
    """Quantities of tokens at all layers, each (layer, token, …), from one pass.

    states: (layer, token, hidden), raw residuals; the last layer given is the final one. Where all
    would not fit in memory, some of the tokens after the others. top_k: how many ids and logits
    `top_ids` and `top_logits` have.
    Raises UnknownNameError for a name that is not in QUANTITIES.
    """
    wanted = [
        look_up("lens quantity", name, list(QUANTITIES), "See docs/metrics.md.") for name in names
    ]
    parts = []
    start = 0
    for some in [states] if isinstance(states, np.ndarray) else states:
        found = lens_values(
            some,
            head,
            quantities=sources(wanted),
            gold=tokens.gold[start : start + some.shape[1]],
            decoder=decoder,
            layers=tokens.layers,
            top_k=top_k,
        )
        parts.append(found)
        start += some.shape[1]
    values = {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}
    for name in wanted:
        _derive(name, values, tokens)
    return {name: values[name] for name in wanted}


def sources(names: Iterable[str]) -> tuple[str, ...]:
    """The quantities out of the pass over the vocabulary that these are, or are derived from."""
    found: dict[str, None] = {}
    for name in names:
        quantity = QUANTITIES[name]
        made_from = (name,) if quantity.derive is None else sources(quantity.derived_from)
        found |= dict.fromkeys(made_from)
    return tuple(found)


def _derive(name: str, values: dict[str, NDArray[Any]], tokens: LensTokens) -> None:
    """Work out a quantity, and first what it is made from."""
    quantity = QUANTITIES[name]
    if name in values or quantity.derive is None:
        return
    for source in quantity.derived_from:
        _derive(source, values, tokens)
    values[name] = quantity.derive(values, tokens)


for _name, _unit, _description in (
    ("entropy_bits", "bits", "entropy of the layer's prediction: 0 to log2(vocabulary)"),
    ("kl_layer_to_final_bits", "bits", "KL(layer || final): `kl_to_final_bits` of logos-in-layers"),
    ("kl_final_to_layer_bits", "bits", "KL(final || layer): the tuned lens' divergence"),
    ("js_bits", "bits", "Jensen-Shannon divergence from the final prediction: 0 to 1"),
    ("cross_entropy_bits", "bits", "-log2 of the gold id's probability"),
    ("p_gold", "probability", "probability of the gold id"),
    ("gold_rank", "rank", "1 + how many logits are larger than the gold id's: ties favour it"),
    ("gold_logit", "logit", "the gold id's logit: with biases, scales and soft caps"),
    ("p_top1", "probability", "probability of the most likely id"),
    ("p_top5", "probability", "sum of the five largest probabilities"),
    ("p_top1_margin", "probability", "the largest probability minus the next one"),
    (
        "top1_id",
        "id",
        "the most likely id, the smallest of equally likely ones; -1 where undefined",
    ),
    ("top1_is_final", "share", "1 where the most likely id is the final prediction's, else 0"),
    ("top_ids", "id", "the most likely ids, most likely first: (layer, token, k)"),
    ("top_logits", "logit", "their logits: (layer, token, k)"),
    ("log_normaliser", "nats", "ln of the sum of all exponentials of logits: p = exp(logit - it)"),
    ("cos_to_final", "cosine", "cosine of logits with the final ones, before biases and soft caps"),
    ("resid_norm", "length", "Euclidean length of the residual"),
    ("normed_norm", "length", "Euclidean length of what the unembedding multiplies"),
):
    register_quantity(Quantity(_name, _unit, _description))
