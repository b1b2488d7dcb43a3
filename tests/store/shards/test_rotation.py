"""Turning vectors, against the whole matrix and in exact arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from actstore.store.shards.encodings.rotation import Rotation

HIDDEN_SIZES = [64, 384, 768, 1024, 2304, 2560, 4096, 5120, 8192]
ODD_SIZES = [1, 2, 3, 5, 9, 45, 105, 127]


def whole_matrix(rotation: Rotation) -> np.ndarray:
    return rotation.turn(np.eye(rotation.size, dtype=np.float32))


@pytest.mark.parametrize("size", HIDDEN_SIZES + ODD_SIZES)
def test_turning_twice_gives_the_vectors_back_exactly(size: int) -> None:
    rotation = Rotation(size)
    vectors = np.eye(min(size, 32), size, dtype=np.float32)
    np.testing.assert_array_equal(rotation.turn(rotation.turn(vectors)), vectors * rotation.norm)


@pytest.mark.parametrize("size", [64, 384, 45, 1])
def test_the_matrix_is_orthogonal_and_symmetric(size: int) -> None:
    rotation = Rotation(size)
    matrix = whole_matrix(rotation)
    np.testing.assert_array_equal(matrix, matrix.T)
    orthonormal = matrix / np.sqrt(rotation.norm)
    np.testing.assert_allclose(orthonormal @ orthonormal.T, np.eye(size), atol=1e-6)


@pytest.mark.parametrize("size", [384, 2304, 5120])
def test_levels_are_turned_without_rounding_in_any_company(
    size: int,
) -> None:
    rotation = Rotation(size)
    levels = np.random.default_rng(0).integers(-127, 128, (9, size))
    turned = rotation.turn(levels.astype(np.float32))
    exact = levels @ whole_matrix(rotation).astype(np.int64)
    np.testing.assert_array_equal(turned, exact)
    alone = [rotation.turn(levels[i : i + 1].astype(np.float32))[0] for i in range(9)]
    np.testing.assert_array_equal(turned, alone)


def test_a_massive_dimension_is_spread_over_all() -> None:
    rotation = Rotation(768)
    vector = np.zeros((1, 768), np.float32)
    vector[0, 5] = 1000
    spread = np.abs(rotation.turn(vector)) / np.sqrt(rotation.norm)
    assert spread.max() < 2 * 1000 / np.sqrt(768)


def test_signs_are_fixed_and_as_often_positive_as_not() -> None:
    signs = Rotation(4096).signs
    assert set(signs.tolist()) == {-1.0, 1.0}
    assert abs(signs.mean()) < 0.05
    assert signs[:8].tolist() == Rotation(8).signs.tolist() == [-1, -1, -1, -1, 1, 1, -1, -1]
