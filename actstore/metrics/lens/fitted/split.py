"""Which texts a lens is fitted to and which it is judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from actstore.errors import InvalidInputError

_HELD_OUT_SHARE = 0.1
"""Of the texts that are not for evaluation."""


def split_of(
    hash_high: NDArray[np.uint64],
    hash_low: NDArray[np.uint64],
    *,
    eval_share: float = 0.2,
    seed: int = 0,
) -> NDArray[np.bool_]:
    """Which texts are for evaluation: (text,), true for about `eval_share` of them.

    hash_high, hash_low: (text,), the halves of each text's content hash, as in the text table. A
    text's side depends on its content, the share and the seed alone: it stays when texts are
    added, and one with a smaller share for evaluation is in the larger one too.
    """
    return _uniform(hash_high, hash_low, seed) < eval_share


def _uniform(high: NDArray[Any], low: NDArray[Any], seed: int) -> NDArray[np.float64]:
    """(text,): a number in [0, 1) for each hash."""
    pairs = _pairs(high, low)
    drawn = [xxhash.xxh3_64_intdigest(pair.tobytes(), seed=seed) >> 11 for pair in pairs]
    return np.array(drawn, np.float64) / 2**53


def _pairs(high: NDArray[Any], low: NDArray[Any]) -> NDArray[Any]:
    """(text, 2): both halves, little-endian."""
    return np.stack([high, low], axis=-1).astype("<u8")


@dataclass(frozen=True)
class Split:
    """Some texts in three parts. Fitting takes the first two: parameters, then when to stop."""

    train: NDArray[np.int64]
    """Rows, ascending, as in the other two."""
    held_out: NDArray[np.int64]
    evaluation: NDArray[np.int64]
    digest: str
    """Of the texts' contents, part by part."""

    def parts(self) -> dict[str, NDArray[np.int64]]:
        """By name."""
        return {
            "train": self.train,
            "held_out": self.held_out,
            "evaluation": self.evaluation,
        }


def split_texts(
    rows: NDArray[np.int64],
    hash_high: NDArray[np.uint64],
    hash_low: NDArray[np.uint64],
    *,
    eval_share: float = 0.2,
    seed: int = 0,
) -> Split:
    """Texts split by `split_of`; a tenth of those to fit to, at least one, is held out.

    rows: (text,). Raises InvalidInputError for a share that is not between 0 and 1, a seed below
    0, and where a part would be empty.
    """
    if not 0 < eval_share < 1 or seed < 0:
        raise InvalidInputError(
            f"Texts cannot be split with an evaluation share of {eval_share} and the seed {seed}. "
            "Give a share between 0 and 1, and a seed of at least 0: --eval-share 0.2 --seed 0"
        )
    evaluation = split_of(hash_high, hash_low, eval_share=eval_share, seed=seed)
    fit = np.flatnonzero(~evaluation)
    n_fit, n_evaluation = len(fit), int(evaluation.sum())
    if n_fit < 2 or not n_evaluation:
        raise InvalidInputError(
            f"A lens needs at least two texts to be fitted to and one to be judged by; of the "
            f"sample's {len(rows)}, the split by content gives {n_fit} and {n_evaluation}. Store "
            "the tokens of more texts (actstore extract … --tokens 200 --tokens-name NAME), or "
            "try another --eval-share or --seed."
        )
    # by hash too, so that the order of the rows does not matter
    order = np.argsort(_uniform(hash_high[fit], hash_low[fit], seed), kind="stable")
    n_held_out = max(1, round(_HELD_OUT_SHARE * n_fit))
    parts = (fit[order[n_held_out:]], fit[order[:n_held_out]], np.flatnonzero(evaluation))
    digest = xxhash.xxh3_128()
    for part in parts:
        digest.update(_pairs(*np.unique([hash_high[part], hash_low[part]], axis=1)).tobytes())
        digest.update(b"\0")
    train, held_out, judging = (np.sort(rows[part]) for part in parts)
    return Split(train, held_out, judging, digest.hexdigest())
