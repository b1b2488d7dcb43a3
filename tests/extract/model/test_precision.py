"""TF32 is on where it is asked for, off elsewhere, and as before afterwards."""

from __future__ import annotations

import pytest
import torch

from actstore.extract.model.precision import float32_precision


def precisions() -> tuple[str, str]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    return str(matmul.fp32_precision), str(cudnn.conv.fp32_precision)  # type: ignore


@pytest.mark.parametrize(("tf32", "name"), [(False, "ieee"), (True, "tf32")])
def test_float32_products_are_as_exact_as_asked_for(tf32: bool, name: str) -> None:
    before = precisions()
    with float32_precision(tf32) as stated:
        assert precisions() == (name, name)
        assert stated == name
    assert precisions() == before


def test_the_precision_is_put_back_after_an_error() -> None:
    before = precisions()
    with pytest.raises(KeyboardInterrupt), float32_precision(True):
        raise KeyboardInterrupt
    assert precisions() == before
