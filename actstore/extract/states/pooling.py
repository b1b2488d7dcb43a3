"""Poolings: how the token states of one layer become one vector per text.

Every pooling here takes right-padded states and sums in float32. A name with the suffix `_normed`
(`mean_normed`) stands for the same pooling of states to which the model's final norm was applied,
token by token, first.

Nothing is copied to set padding to zero: a batch is reduced in two parts, the tokens that every
text has and the few columns after them, and only those few are masked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actstore.errors import InvalidTextError
from actstore.extract.model.placement import to_device
from actstore.refs import look_up

NORMED_SUFFIX = "_normed"
_PIECE = 1 << 18
"""Elements that are pooled together on a CPU: 1 MiB in float32, which stay in its cache. Normed
states of a whole batch would not, and cost five times as much."""


@dataclass(frozen=True, eq=False)
class RealTokens:
    """Which tokens of texts that are padded on the right are real."""

    mask: Tensor
    """(text, token) bool, on the device of the states; at least one a text (`require_tokens`)."""
    lengths: NDArray[np.integer[Any]]
    """(text,), real tokens of each: in the host's memory, so that nothing waits for the device."""

    @classmethod
    def of(cls, lengths: NDArray[np.integer[Any]], device: torch.device | str = "cpu") -> Self:
        """The mask of texts of these lengths, as wide as the longest."""
        mask = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None])
        return cls(to_device(mask, device), lengths)

    @property
    def shortest(self) -> int:
        """Up to this token, no text is padded."""
        return int(self.lengths.min())

    @property
    def padded(self) -> bool:
        return self.shortest < self.mask.shape[1]

    def on(self, device: torch.device) -> RealTokens:
        """The same for states on another device."""
        return RealTokens(self.mask.to(device), self.lengths)

    def __getitem__(self, texts: slice) -> RealTokens:
        """Those of some of the texts."""
        return RealTokens(self.mask[texts], self.lengths[texts])


@dataclass(frozen=True)
class Pooling:
    """One way to pool."""

    name: str
    pool: Callable[[Tensor, RealTokens], Tensor]
    """(hidden, real) -> vectors. hidden: (text, token, hidden), any float dtype, padded on the
    right with whatever: it may be infinite or NaN. Returns (text, hidden) in float32, a copy."""
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


def pool_all(
    hidden: Tensor, real: RealTokens, poolings: Sequence[NamedPooling], norm: nn.Module | None
) -> list[Tensor]:
    """The vectors of each pooling: (text, hidden) in float32, on the device of `hidden`.

    hidden: (text, token, hidden), left as it is. norm: the model's final norm, which the normed
    poolings need.
    """
    found: list[list[Tensor]] = []
    for part, tokens in _pieces(hidden, real):
        normed = part
        if norm is not None and any(named.normed for named in poolings):
            normed = norm(part).to(part.device)
        sources = [normed if named.normed else part for named in poolings]
        found.append(
            [named.pooling.pool(s, tokens) for named, s in zip(poolings, sources, strict=True)]
        )
    return [torch.cat(of_one) for of_one in zip(*found, strict=True)]


def require_tokens(lengths: NDArray[np.integer[Any]]) -> None:
    """Raise InvalidTextError if a text has no token: nothing is left to pool. lengths: (text,)."""
    empty = np.flatnonzero(lengths == 0).tolist()
    if empty:
        raise InvalidTextError(
            f"Texts {empty} of a batch of {len(lengths)} have no token: no pooling is defined for "
            "them. Remove them from the input."
        )


def _pieces(hidden: Tensor, real: RealTokens) -> Iterator[tuple[Tensor, RealTokens]]:
    """A batch as it is best pooled: some texts at a time on a CPU, all at once elsewhere."""
    texts = len(hidden)
    step = max(1, _PIECE // hidden[0].numel()) if hidden.device.type == "cpu" else texts
    for start in range(0, texts, step):
        some = slice(start, start + step)
        yield hidden[some], real[some]


def _named(name: str) -> NamedPooling:
    look_up("pooling", name, pooling_names(), "All poolings: actstore extract --help")
    return NamedPooling(name, POOLINGS[name.removesuffix(NORMED_SUFFIX)], _is_normed(name))


def _is_normed(name: str) -> bool:
    return name.endswith(NORMED_SUFFIX)


def _parts(hidden: Tensor, real: RealTokens, neutral: float) -> Iterator[tuple[Tensor, slice]]:
    """The columns that hold real tokens only, then the others with padding set to `neutral`."""
    yield hidden[:, : real.shortest], slice(real.shortest)
    longest = int(real.lengths.max())
    if real.shortest < longest:
        rest = slice(real.shortest, longest)
        yield hidden[:, rest].masked_fill(~real.mask[:, rest].unsqueeze(-1), neutral), rest


def _mean(hidden: Tensor, real: RealTokens) -> Tensor:
    first, *rest = (part.sum(1, dtype=torch.float32) for part, _ in _parts(hidden, real, 0))
    return sum(rest, first) / real.mask.sum(dim=1, keepdim=True, dtype=torch.float32)


def _last(hidden: Tensor, real: RealTokens) -> Tensor:
    texts = torch.arange(len(hidden), device=hidden.device)
    return hidden[texts, real.mask.sum(dim=1) - 1].float()


def _first(hidden: Tensor, real: RealTokens) -> Tensor:
    del real  # padded on the right: the first token is always real
    return hidden[:, 0].to(torch.float32, copy=True)  # a view would keep all tokens in memory


def _weighted_mean(hidden: Tensor, real: RealTokens) -> Tensor:
    position = torch.arange(1, hidden.shape[1] + 1, device=hidden.device, dtype=torch.float32)
    weight = position * real.mask
    weight = (weight / weight.sum(dim=1, keepdim=True)).unsqueeze(-1)
    first, *rest = ((part * weight[:, at]).sum(dim=1) for part, at in _parts(hidden, real, 0))
    return sum(rest, first)


def _max(hidden: Tensor, real: RealTokens) -> Tensor:
    first, *rest = (part.amax(dim=1) for part, _ in _parts(hidden, real, -torch.inf))
    return functools.reduce(torch.maximum, rest, first).float()


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
