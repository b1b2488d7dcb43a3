"""Which id of a vocabulary is meant by a token's string."""

from __future__ import annotations

import numpy as np

from actstore.errors import InvalidInputError
from actstore.metrics.lens.reading import TokenNames

_MENTIONED = 3


def gold_id(gold: str | int, text: str, names: TokenNames) -> int:
    """The id of a token that should follow a text.

    gold: an id, or what one decodes to. A word is first looked up with the space before it that it
    has in running text, unless the text ends in one. Raises InvalidInputError for an id that is not
    there, and for a string that is not exactly one token.
    """
    if isinstance(gold, int):
        if not 0 <= gold < len(names.text):
            raise InvalidInputError(
                f"There is no token {gold}: the vocabulary has the ids 0 to {len(names.text) - 1}."
            )
        return gold
    spaced = not gold[:1].isspace() and not text[-1:].isspace()
    for spelling in (f" {gold}", gold) if spaced else (gold,):
        ids = np.flatnonzero(names.text == spelling)
        spoken = ids[~names.special[ids]] if len(ids) > 1 else ids
        if len(spoken) > 1:
            raise InvalidInputError(
                f"{len(spoken)} tokens decode to {spelling!r}: {', '.join(map(str, spoken))}. "
                "Say which by its id: --gold-id N (from Python: gold=N)."
            )
        if len(spoken):
            return int(spoken[0])
    raise InvalidInputError(
        f"{gold!r} is no single token of the vocabulary. {_beginnings(gold, spaced, names)}"
    )


def _beginnings(gold: str, spaced: bool, names: TokenNames) -> str:
    """The longest tokens that it begins with, for a message."""
    whole = f" {gold}" if spaced else gold
    begins = {
        token
        for token in names.text
        if token.strip() and (whole.startswith(token) or gold.startswith(token))
    }
    longest = sorted(begins, key=lambda token: (-len(token), token))[:_MENTIONED]
    shown = " or ".join(repr(token) for token in longest)
    return f"Tokens that it begins with: {shown}." if longest else "No token is its beginning."
