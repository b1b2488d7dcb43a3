"""Kernels over some columns of the inputs: arms and tasks stand side by side in one matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process.kernels import Kernel

Floats = NDArray[np.float64]


class OnColumns(Kernel):
    """A kernel that sees some columns of its inputs and none of the others."""

    def __init__(self, kernel: Kernel, columns: Sequence[int]) -> None:
        self.kernel, self.columns = kernel, columns

    def __call__(self, X: Floats, Y: Floats | None = None, eval_gradient: bool = False) -> Any:  # noqa: N803
        columns = list(self.columns)
        other = None if Y is None else Y[:, columns]
        return self.kernel(X[:, columns], other, eval_gradient=eval_gradient)

    def diag(self, X: Floats) -> Floats:  # noqa: N803
        values: Floats = self.kernel.diag(X[:, list(self.columns)])
        return values

    def is_stationary(self) -> bool:
        return bool(self.kernel.is_stationary())

    @property
    def hyperparameters(self) -> Any:
        return self.kernel.hyperparameters

    @property
    def theta(self) -> Floats:
        values: Floats = self.kernel.theta
        return values

    @theta.setter
    def theta(self, theta: Floats) -> None:
        self.kernel.theta = theta

    @property
    def bounds(self) -> Floats:
        values: Floats = self.kernel.bounds
        return values

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"kernel": self.kernel, "columns": self.columns}

    def clone_with_theta(self, theta: Floats) -> OnColumns:
        return OnColumns(self.kernel.clone_with_theta(theta), self.columns)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OnColumns):
            return False
        return list(self.columns) == list(other.columns) and bool(self.kernel == other.kernel)

    def __repr__(self) -> str:
        return f"OnColumns({self.kernel!r}, {list(self.columns)})"
