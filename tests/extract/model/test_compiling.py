"""Compiled blocks give the states of the model as it is, or the run ends with a clear error."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from actstore.errors import InvalidInputError
from actstore.extract.checkpoints.sources import find_source
from actstore.extract.model.blocks import find_structure
from actstore.extract.model.compiling import compile_blocks
from actstore.extract.model.load import LoadSettings, load_model
from actstore.extract.states.forward import ForwardSettings, pooled_states
from actstore.extract.states.pooling import named_poolings
from tests.support.tiny_models import N_BLOCKS, VOCABULARY, save_tiny_model, tiny_model


@pytest.mark.slow
def test_compiled_blocks_give_the_same_states_at_any_shape(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path, "gpt_neox")
    model = load_model(find_source(str(folder), "main"), LoadSettings(device="cpu"), lm_head=False)
    rng = np.random.default_rng(0)
    token_ids = [rng.integers(8, VOCABULARY, n) for n in (17, 17, 9, 9, 3)]

    def states(*, compiled: bool) -> np.ndarray:
        settings = ForwardSettings(tuple(range(N_BLOCKS + 1)), "float32", 40, compile=compiled)
        poolings = named_poolings(["mean"])
        found = pooled_states(model, token_ids, np.arange(5), poolings, settings)
        return np.concatenate([batch.states["mean"] for batch in found], axis=1)

    plain = states(compiled=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler's own making
        compiled = states(compiled=True)
    np.testing.assert_allclose(compiled, plain, rtol=1e-4, atol=1e-5)


def broken_compiler(graph: Callable[..., Any], _: object) -> Callable[..., Any]:
    raise RuntimeError("no C++ compiler")


def wrong_compiler(graph: Callable[..., Any], _: object) -> Callable[..., Any]:
    def run(*inputs: Tensor) -> Any:
        return tuple(out * 2 for out in graph(*inputs))

    return run


@pytest.mark.parametrize(
    ("backend", "reason"),
    [(broken_compiler, "no C\\+\\+ compiler.*Leave --compile away"), (wrong_compiler, "other sta")],
)
def test_a_failing_compiler_is_told_with_a_way_out(
    backend: Callable[..., Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    structure = find_structure(tiny_model("gpt_neox"))
    compiler = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda forward, dynamic: compiler(forward, backend=backend)
    )
    with pytest.raises(InvalidInputError, match=reason):
        compile_blocks(structure)
