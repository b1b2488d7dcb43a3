"""A rotation that spreads every direction over all dimensions.

A state's few massive dimensions would take all of an 8-bit scale for themselves. Rotated, a state's
values are of about one size, whatever it was before.
Sources: Ashkboos et al. 2024, https://arxiv.org/abs/2404.00456 (Hadamard rotations against the
outliers of residual streams); Sun et al. 2024, https://arxiv.org/abs/2402.17762 (what those are).
"""

from __future__ import annotations

import hashlib
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

_SEED = b"actstore"
_AT_ONCE = 1 << 15
"""Values; they and what they become stay in a core's own cache."""


class Rotation:
    """Random signs, and then a symmetric matrix of whole numbers, orthogonal but for a scale.

    The matrix is a Kronecker product: for each odd prime r in `size` of r I - 2 J, a reflection
    times r (J is all ones), and of Hadamard's for the power of two in it. As its numbers are whole,
    whole numbers are turned without rounding: on every machine, and in any company, to the same
    bits.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        two = size & -size
        odd, self.norm = np.ones((1, 1), np.float32), two
        for prime in _odd_primes(size):
            odd = np.kron(prime * np.eye(prime, dtype=np.float32) - 2, odd)
            self.norm *= prime * prime
        inner = _nearest_to_root(two, size)
        self._outer = np.ascontiguousarray(np.kron(odd, _hadamard(two // inner)))
        self._inner = _hadamard(inner)

    norm: int
    """The matrix times itself is so many times the identity."""

    @cached_property
    def signs(self) -> NDArray[np.float32]:
        """(size,): +1 or -1, by the bits of SHAKE-256: fixed for ever."""
        data = hashlib.shake_256(_SEED).digest(-(-self.size // 8))
        bits = np.unpackbits(np.frombuffer(data, np.uint8))[: self.size]
        return 1 - 2 * bits.astype(np.float32)

    @property
    def rows_at_once(self) -> int:
        """How many vectors are best turned by one call."""
        return max(1, _AT_ONCE // self.size)

    def turn(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The matrix times each of some vectors (n, size), C-contiguous, without the signs."""
        outer, inner = len(self._outer), len(self._inner)
        half = vectors.reshape(-1, inner) @ self._inner
        turned: NDArray[np.float32] = self._outer @ half.reshape(-1, outer, inner)
        return turned.reshape(-1, self.size)


@cache
def rotation(size: int) -> Rotation:
    """The rotation of vectors of some size."""
    return Rotation(size)


def _odd_primes(n: int) -> list[int]:
    """The odd prime factors of a number, each as often as it is in it."""
    n //= n & -n
    found, prime = [], 3
    while n > 1:
        if prime * prime > n:
            prime = n
        while n % prime == 0:
            found.append(prime)
            n //= prime
        prime += 2
    return found


def _nearest_to_root(two: int, size: int) -> int:
    """The power of two, at most `two`, that with what is left of `size` makes the least work."""
    powers = [1 << i for i in range(two.bit_length())]
    return min(powers, key=lambda power: power + size // power)


def _hadamard(size: int) -> NDArray[np.float32]:
    """Sylvester's Hadamard matrix: symmetric, of +1 and -1."""
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix
