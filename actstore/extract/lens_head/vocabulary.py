"""What a tokenizer's ids stand for, in words."""

from __future__ import annotations

from typing import Any


def decoded_tokens(tokenizer: Any, n: int) -> list[str]:
    """What each id, 0 .. n - 1, is decoded to alone; an empty text for ids it does not have.

    Models often have more embeddings than their tokenizer has ids.
    """
    known = min(n, len(tokenizer))
    tokens: list[str] = tokenizer.batch_decode([[i] for i in range(known)])
    return tokens + [""] * (n - known)


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Ids that stand for no text: those with a role (padding, end), and those marked special."""
    marked = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset(marked | set(tokenizer.all_special_ids))
