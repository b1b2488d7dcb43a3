"""Blocks compiled one by one with torch.compile."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import nn

from actstore.errors import InvalidInputError
from actstore.extract.model.blocks import ModelStructure
from actstore.extract.model.layouts import states_stay_the_same


def compile_blocks(structure: ModelStructure) -> None:
    """Compile the forward of every block, for any number of texts and tokens.

    Hooks stay outside. Blocks of one class share their compiled code. The blocks run once here:
    raises InvalidInputError if the compiler fails or changes the states beyond rounding.
    """
    try:
        same = states_stay_the_same(structure, partial(_compile, structure.blocks))
    except Exception as error:  # a compiler fails in as many ways as it has parts
        raise InvalidInputError(
            f"Cannot compile the blocks of {type(structure.base).__name__}: "
            f"{' '.join(str(error).split())[:300]} Leave --compile away."
        ) from error
    if not same:
        raise InvalidInputError(
            f"Compiled, the blocks of {type(structure.base).__name__} give other states. "
            "Leave --compile away."
        )


def _compile(blocks: Iterable[nn.Module]) -> None:
    for block in blocks:
        block.forward = torch.compile(block.forward, dynamic=True)
