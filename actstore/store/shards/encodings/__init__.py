"""How states are stored: exactly, or smaller at a stated error. See docs/precision.md."""

from actstore.refs import look_up
from actstore.store.shards.encodings.base import Encoding
from actstore.store.shards.encodings.compact import Compact
from actstore.store.shards.encodings.exact import Exact
from actstore.store.shards.encodings.small import Small

EXACT, COMPACT, SMALL = "exact", "compact", "small"
ENCODINGS: dict[str, Encoding] = {EXACT: Exact(), COMPACT: Compact(), SMALL: Small()}
"""By what `--precision` is given."""


def encoding_of(precision: str) -> Encoding:
    """The encoding of a precision. Raises UnknownNameError."""
    return ENCODINGS[look_up("precision", precision, list(ENCODINGS), "See docs/precision.md.")]


__all__ = ["COMPACT", "ENCODINGS", "EXACT", "SMALL", "Encoding", "encoding_of"]
