"""A prompt read layer by layer: what each would say next, as a table and its milestones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats
from actstore.metrics.lens.collapse import (
    Flags,
    Ids,
    copy_collapse,
    entropy_collapse,
    semantic_collapse,
    soft_copy_collapse,
)
from actstore.metrics.lens.decoders import FINAL, Decoder
from actstore.metrics.lens.milestones import Milestones, milestones
from actstore.metrics.lens.quantities import LensTokens, measure
from actstore.metrics.lens.trajectory import RESID_NORM_RATIO
from actstore.store import LensHead

SOFT_WINDOWS = (1, 2, 3)
SOFT_THRESHOLD = 0.5
NO_GOLD = -1
_QUANTITIES = (
    "entropy_bits",
    "kl_layer_to_final_bits",
    "kl_final_to_layer_bits",
    "cos_to_final",
    "p_top5",
    "p_top1_margin",
    "p_gold",
    "gold_rank",
    "top_ids",
    "top_logits",
    "log_normaliser",
    "resid_norm",
    RESID_NORM_RATIO.name,
)


@dataclass(frozen=True, eq=False)  # arrays do not compare to a truth value
class TokenNames:
    """What the ids of a vocabulary stand for."""

    text: NDArray[np.object_]
    """(id,): each id decoded by itself; `[id]` for one that decodes to nothing."""
    special: Flags
    """(id,): ids that no text spells (CLS, BOS, …), and those that only pad the vocabulary."""
    blank: Flags
    """(id,): ids of only whitespace and punctuation."""

    @property
    def never_copied(self) -> Flags:
        """(id,): ids whose repetition is no copy, special or blank: for `LensTokens.blank`."""
        return np.asarray(self.special | self.blank)

    @classmethod
    def of(cls, vocabulary: pd.DataFrame, size: int) -> TokenNames:
        """vocabulary: id, token, is_special, is_blank, as `Store.vocabulary`. size: of the head."""
        n = max(size, int(vocabulary["id"].max()) + 1)
        text = np.array([f"[{i}]" for i in range(n)], object)
        special, blank = np.ones(n, dtype=bool), np.zeros(n, dtype=bool)
        ids = vocabulary["id"].to_numpy()
        known = vocabulary[vocabulary["token"] != ""]  # others only pad the vocabulary
        text[known["id"]] = known["token"]
        special[ids] = vocabulary["is_special"].to_numpy()
        blank[ids] = vocabulary["is_blank"].to_numpy()
        return cls(text, special, blank)


@dataclass(frozen=True, eq=False)
class Prompt:
    """A text's tokens, and the states of those that are read."""

    token_id: Ids
    """(token,): of the whole text."""
    positions: tuple[int, ...]
    """The tokens that are read, ascending: what each layer would say next after them."""
    gold: Ids
    """(position,): the ids looked for there, NO_GOLD for none."""
    states: Floats
    """(layer, position, hidden), raw residuals."""
    layers: tuple[int, ...]
    """Of the layer axis, ascending; the last one is the model's last."""


def read_prompt(
    prompt: Prompt, head: LensHead, names: TokenNames, decoder: Decoder = FINAL, top: int = 5
) -> tuple[pd.DataFrame, dict[int, Milestones]]:
    """One line a position and layer, and the milestones by position.

    Columns are named as in logos-in-layers: layer, pos, token (the one at pos), entropy_bits,
    top1, prob1, … up to `top`, rest_mass (what those leave), p_top1, p_top5, answer, p_answer,
    answer_rank, is_answer (all of the gold token; missing without one), kl_to_final_bits (KL(layer
    || final)), kl_final_to_layer_bits, cos_to_final (of logits, without biases), copy_collapse,
    copy_soft_k1@0.5 … k3, entropy_collapse, teacher_entropy_bits (of the model's own prediction),
    raw_resid_norm, resid_norm_ratio. All but names, flags and
    numbers of layers, positions and ranks are float64; what is not defined is missing.
    """
    values = _measured(prompt, head, decoder, top)
    flags = _copies(prompt, values, names)
    columns = {
        "layer": _over(prompt, np.array(prompt.layers)[:, None]),
        "pos": _over(prompt, np.array(prompt.positions)),
        "token": _over(prompt, names.text[prompt.token_id[list(prompt.positions)]]),
        **_predictions(values, names, top),
        **_gold(prompt, values, names),
        **_distances(values, _teacher_entropy(prompt, head, values, decoder)),
        **{name: _known(flag, values["entropy_bits"]) for name, flag in flags.items()},
        "raw_resid_norm": values["resid_norm"],
        "resid_norm_ratio": values[RESID_NORM_RATIO.name],
    }
    table = pd.DataFrame({name: _line_up(column) for name, column in columns.items()})
    table["answer_rank"] = table["answer_rank"].astype("Int64")
    return table, _all_milestones(prompt, values, flags)


def _measured(
    prompt: Prompt, head: LensHead, decoder: Decoder, top: int
) -> dict[str, NDArray[Any]]:
    """Quantities, each (layer, position, …)."""
    n = len(prompt.positions)
    spans = np.stack([np.arange(n), np.arange(n) + 1], axis=1)
    ids = prompt.token_id[list(prompt.positions)]
    tokens = LensTokens(ids, spans, prompt.gold, prompt.layers)
    return measure(prompt.states, tokens, head, _QUANTITIES, decoder=decoder, top_k=top)


def _copies(prompt: Prompt, values: dict[str, NDArray[Any]], names: TokenNames) -> dict[str, Flags]:
    """Flags by column, each (layer, position); copies are looked for in the whole text so far."""
    n_layers, places = len(prompt.layers), list(prompt.positions)

    def spread(values: NDArray[Any], nothing: float) -> NDArray[Any]:
        whole = np.full((n_layers, len(prompt.token_id)), nothing, values.dtype)
        whole[:, places] = values
        return whole

    top1, p = spread(values["top_ids"][..., 0], -1), spread(_probabilities(values)[..., 0], np.nan)
    margin = spread(values["p_top1_margin"], np.nan)
    strict = copy_collapse(top1, p, margin, prompt.token_id, ignored=names.never_copied)
    soft = {
        f"copy_soft_k{k}@{SOFT_THRESHOLD}": soft_copy_collapse(
            top1, p, prompt.token_id, window=k, threshold=SOFT_THRESHOLD, ignored=names.special
        )
        for k in SOFT_WINDOWS
    }
    found = {"copy_collapse": strict, **soft}
    return {
        **{name: flags[:, places] for name, flags in found.items()},
        "entropy_collapse": entropy_collapse(values["entropy_bits"]),
    }


def _predictions(
    values: dict[str, NDArray[Any]], names: TokenNames, top: int
) -> dict[str, NDArray[Any]]:
    p, ids = _probabilities(values), values["top_ids"]
    shown: dict[str, NDArray[Any]] = {}
    for place in range(min(top, ids.shape[-1])):
        shown[f"top{place + 1}"] = _named(names, ids[..., place], np.isfinite(p[..., place]))
        shown[f"prob{place + 1}"] = p[..., place]
    rest = np.maximum(0.0, 1.0 - p[..., :top].sum(axis=-1))
    return {
        "entropy_bits": values["entropy_bits"],
        **shown,
        "rest_mass": rest,
        "p_top1": p[..., 0],
        "p_top5": values["p_top5"],
    }


def _gold(
    prompt: Prompt, values: dict[str, NDArray[Any]], names: TokenNames
) -> dict[str, NDArray[Any]]:
    answers = _named(names, prompt.gold, np.asarray(prompt.gold >= 0))
    rank = values["gold_rank"]
    return {
        "answer": _over(prompt, answers),
        "p_answer": values["p_gold"],
        "answer_rank": rank,
        "is_answer": _known(semantic_collapse(rank), rank),
    }


def _distances(
    values: dict[str, NDArray[Any]], teacher_entropy: NDArray[np.float64]
) -> dict[str, NDArray[Any]]:
    entropy = values["entropy_bits"]
    return {
        "kl_to_final_bits": values["kl_layer_to_final_bits"],
        "kl_final_to_layer_bits": values["kl_final_to_layer_bits"],
        "cos_to_final": values["cos_to_final"],
        "teacher_entropy_bits": np.broadcast_to(teacher_entropy, entropy.shape),
    }


def _teacher_entropy(
    prompt: Prompt, head: LensHead, values: dict[str, NDArray[Any]], decoder: Decoder
) -> NDArray[np.float64]:
    """(position,): of the model's own prediction, whatever lens reads the layers."""
    if decoder is FINAL:
        last: NDArray[np.float64] = values["entropy_bits"][-1]
        return last
    own = Prompt(
        prompt.token_id, prompt.positions, prompt.gold, prompt.states[-1:], prompt.layers[-1:]
    )
    return np.asarray(_measured(own, head, FINAL, 1)["entropy_bits"][-1])


def _all_milestones(
    prompt: Prompt, values: dict[str, NDArray[Any]], flags: dict[str, Flags]
) -> dict[int, Milestones]:
    return {
        position: milestones(
            prompt.layers,
            copied=flags["copy_collapse"][:, i],
            soft_copied={k: flags[f"copy_soft_k{k}@{SOFT_THRESHOLD}"][:, i] for k in SOFT_WINDOWS},
            entropy_bits=values["entropy_bits"][:, i],
            kl_layer_to_final_bits=values["kl_layer_to_final_bits"][:, i],
            gold_rank=values["gold_rank"][:, i],
        )
        for i, position in enumerate(prompt.positions)
    }


def _probabilities(values: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Of the top ids: (layer, position, place)."""
    return np.asarray(np.exp(values["top_logits"] - values["log_normaliser"][..., None]))


def _named(names: TokenNames, ids: Ids, known: Flags) -> NDArray[np.object_]:
    """What ids stand for; None where they are not known."""
    text: NDArray[np.object_] = names.text[ids]
    text[~known] = None
    return text


def _over(prompt: Prompt, values: NDArray[Any]) -> NDArray[Any]:
    return np.broadcast_to(values, (len(prompt.layers), len(prompt.positions)))


def _known(flags: Flags, of: Floats) -> NDArray[np.object_]:
    """Flags; None where what they are of is not defined."""
    known: NDArray[np.object_] = flags.astype(object)
    known[~np.isfinite(of)] = None
    return known


def _line_up(column: NDArray[Any]) -> pd.Series[Any]:
    """(layer, position) to lines: the positions one behind the other, layers ascending in each."""
    return pd.Series(column.T.reshape(-1), dtype=column.dtype)
