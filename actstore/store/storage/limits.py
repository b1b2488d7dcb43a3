"""How large an object may be that is read into memory whole.

A file of a stranger's can claim any size and hold nothing (a sparse file, a member of a zip): it is
refused before room is made for it.
"""

from __future__ import annotations

from actstore.errors import CorruptShardError

_MOST = {".json": 64 << 20, ".yaml": 16 << 20, ".lease": 64 << 10}
"""Bytes, by how the key ends; ours have a hundredth of that."""
_MOST_OF_OTHERS = 16 << 30
"""Bytes of tables, journals, arrays and shards."""


def require_size(url: str, key: str, size: int) -> None:
    """Raise CorruptShardError for an object that is larger than any that is written."""
    ending = key[key.rfind(".") :]
    most = _MOST.get(ending, _MOST_OF_OTHERS)
    if size > most:
        raise CorruptShardError(
            f"{key} of {url} is damaged: it has {size:,} bytes, and none that was written there "
            f"has more than {most:,}. Run: actstore verify {url}"
        )
