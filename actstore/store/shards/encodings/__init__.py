"""How states are stored: exactly, or smaller at a stated error. See docs/precision.md."""

from actstore.store.shards.encodings.base import Encoding
from actstore.store.shards.encodings.compact import Compact
from actstore.store.shards.encodings.exact import Exact
from actstore.store.shards.encodings.small import Small

EXACT, COMPACT, SMALL = "exact", "compact", "small"
ENCODINGS: dict[str, Encoding] = {EXACT: Exact(), COMPACT: Compact(), SMALL: Small()}
"""By what `--precision` is given."""

__all__ = ["COMPACT", "ENCODINGS", "EXACT", "SMALL", "Encoding"]
