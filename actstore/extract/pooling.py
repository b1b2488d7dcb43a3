"""Poolings: how the token states of one layer become one vector per text.

Every pooling here takes right-padded states and sums in float32. A name with the suffix `_normed`
(`mean_normed`) stands for the same pooling of states to which the model's final norm was applied,
token by token, first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from actstore.errors import InvalidTextError
from actstore.refs import look_up

NORMED_SUFFIX = "_normed"


@dataclass(frozen=True)
class Pooling:
    """One way to pool."""

    name: str
    pool: Callable[[Tensor, Tensor], Tensor]
    """(hidden, mask) -> vectors. hidden: (text, token, hidden), any float dtype, padded on the
    right. mask: (text, token), True for real tokens, at least one a text (`require_tokens`).
    Returns (text, hidden) in float32."""
    reference: str


@dataclass(frozen=True)
class NamedPooling:
    """A pooling as asked for: which one, and whether of normed states."""

    name: str
    pooling: Pooling
    normed: bool


POOLINGS: dict[str, Pooling] = {}


def register(pooling: Pooling) -> Pooling:
    """Make a pooling known under its name, raw and `_normed`."""
    POOLINGS[pooling.name] = pooling
    return pooling


def pooling_names() -> list[str]:
    """Every name a pooling can be asked for by: `mean`, `mean_normed`, …"""
    return [name + suffix for name in POOLINGS for suffix in ("", NORMED_SUFFIX)]


def named_poolings(names: Iterable[str]) -> tuple[NamedPooling, ...]:
    """The poolings of these names, in order and without repeats. Raises UnknownNameError."""
    return tuple(_named(name) for name in dict.fromkeys(names))


def require_tokens(mask: Tensor) -> None:
    """Raise InvalidTextError if a text of this mask has no real token: nothing is left to pool.

    mask: (text, token). Reads the mask, so call it before the mask goes to a device.
    """
    empty = (~mask.bool().any(dim=1)).nonzero().flatten().tolist()
    if empty:
        raise InvalidTextError(
            f"Texts {empty} of a batch of {len(mask)} have no token: no pooling is defined for "
            "them. Remove them from the input."
        )


def _named(name: str) -> NamedPooling:
    look_up("pooling", name, pooling_names(), "All poolings: actstore extract --help")
    return NamedPooling(name, POOLINGS[name.removesuffix(NORMED_SUFFIX)], _is_normed(name))


def _is_normed(name: str) -> bool:
    return name.endswith(NORMED_SUFFIX)


def _real(hidden: Tensor, mask: Tensor) -> Tensor:
    """The states with padding set to zero: what stands there is arbitrary, and may be infinite."""
    return hidden.masked_fill(~mask.unsqueeze(-1), 0)


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    count = mask.sum(dim=1, keepdim=True, dtype=torch.float32)
    return _real(hidden, mask).sum(dim=1, dtype=torch.float32) / count


def _last(hidden: Tensor, mask: Tensor) -> Tensor:
    texts = torch.arange(len(hidden), device=hidden.device)
    return hidden[texts, mask.sum(dim=1) - 1].float()


def _first(hidden: Tensor, mask: Tensor) -> Tensor:
    del mask  # padded on the right: the first token is always real
    return hidden[:, 0].to(torch.float32, copy=True)  # a view would keep all tokens in memory


def _weighted_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    position = torch.arange(1, hidden.shape[1] + 1, device=hidden.device, dtype=torch.float32)
    weight = position * mask
    weight = weight / weight.sum(dim=1, keepdim=True)
    return torch.einsum("bt,btd->bd", weight, _real(hidden, mask).float())


def _max(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden.masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(dim=1).float()


register(
    Pooling(
        name="mean",
        pool=_mean,
        reference="Reimers & Gurevych 2019, https://arxiv.org/abs/1908.10084, section 3",
    )
)
register(
    Pooling(
        name="last",
        pool=_last,
        reference="Neelakantan et al. 2022, https://arxiv.org/abs/2201.10005, section 2",
    )
)
register(
    Pooling(
        name="first",
        pool=_first,
        reference="Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 3 ([CLS])",
    )
)
register(
    Pooling(
        name="weighted_mean",
        pool=_weighted_mean,
        reference="Muennighoff 2022 (SGPT), https://arxiv.org/abs/2202.08904, section 4.1: "
        "token i of n weighs i / (1 + … + n)",
    )
)
register(
    Pooling(
        name="max",
        pool=_max,
        reference="Reimers & Gurevych 2019, https://arxiv.org/abs/1908.10084, section 3",
    )
)
