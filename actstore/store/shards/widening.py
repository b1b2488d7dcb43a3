"""float16 to float32, where numpy is slow: its own conversion takes one value after the other.

The bits of a float16, moved to the place that they have in a float32, are the same number times
2^-112; a multiplication by 2^112 is exact for all that are finite, subnormal ones too. It is six
times as fast in numpy, and what is read from a store is in float16 by default.
Source: F. Giesen, "half to float done quic", https://gist.github.com/rygorous/2156668
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 1 << 17
"""Values; they and what they become stay in a core's own cache."""
_SHIFT = 13
"""Bits that a float32's fraction is longer."""
_NOT_REPEATED = np.int32(~0x70000000)
"""All bits but the three that shifting a sign-extended number fills with its sign."""
_SCALE = np.float32(2.0**112)
_SMALLEST = np.float32(2.0**-136)
"""What the smallest float16, 2^-24, is before it is scaled."""
_INFINITE = 0x7C00
"""The bits of infinity; those of any NaN are more."""


def convert(states: NDArray[np.floating[Any]], out: NDArray[np.floating[Any]]) -> None:
    """Fill `out`, of the shape of `states`, with their values, as `out[...] = states` does."""
    if states.dtype != np.float16 or out.dtype != np.float32 or not _keeps_subnormals():
        out[...] = states
        return
    rows = max(1, _AT_ONCE // max(1, states[:1].size))
    for start in range(0, len(states), rows):
        _widen(states[start : start + rows], out[start : start + rows])


def _keeps_subnormals() -> bool:
    """Whether this thread's processor does; a library may have told it to make them zero."""
    return bool(_SMALLEST * _SCALE != 0)


def _widen(states: NDArray[Any], out: NDArray[Any]) -> None:
    bits: NDArray[Any] = states.view(np.int16)
    if bits.max() >= _INFINITE or states.view(np.uint16).max() >= 0x8000 | _INFINITE:
        out[...] = states
        return
    words = out.view(np.int32)
    words[...] = bits
    words <<= _SHIFT
    words &= _NOT_REPEATED
    out *= _SCALE
