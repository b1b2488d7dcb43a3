"""What is done to stored states before they are scored: a few steps, always in one order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from actstore.errors import InvalidInputError
from actstore.refs import ranges

_STEPS = "mean or concat (of several layers), center or whiten, dimsN, l2"
_DIMS = re.compile(r"dims([1-9]\d*)")


@dataclass(frozen=True)
class Transform:
    """Steps in the order of the fields; the default leaves states as they are stored."""

    combine: str = ""
    """`mean` or `concat`: several layers become one representation; empty: one layer."""
    fit: str = ""
    """`center` takes off the mean (Mu & Viswanath 2018, https://arxiv.org/abs/1702.01417, step 1);
    `whiten` also makes the covariance the identity, strongest directions first (Su et al. 2021,
    https://arxiv.org/abs/2103.15316, section 3.2). Both are fitted on the checkpoint's texts."""
    dims: int | None = None
    """Only the first so many values are kept, after `whiten` the strongest directions."""
    l2: bool = False
    """Every vector is divided by its Euclidean norm; a vector of zeros stays."""

    @classmethod
    def parse(cls, name: str) -> Transform:
        """The transform of a name such as `center+l2`. Raises InvalidInputError."""
        found: dict[str, str | int | bool] = {}
        for step in filter(None, name.split("+")):
            key, value = _step(step, name)
            if key in found or _ORDER.index(key) < max(map(_ORDER.index, found), default=-1):
                raise InvalidInputError(
                    f"The transform {name!r} has {step} twice or too late. Each step comes at most "
                    f"once, in this order: {_STEPS}; for instance center+l2."
                )
            found[key] = value
        return cls(**found)  # type: ignore[arg-type]

    def __str__(self) -> str:
        dims = f"dims{self.dims}" if self.dims is not None else ""
        return "+".join(filter(None, [self.combine, self.fit, dims, "l2" if self.l2 else ""]))


_ORDER = [one.name for one in fields(Transform)]


@dataclass(frozen=True)
class Representation:
    """What is scored: one layer, or several that are combined, of one pooling, transformed."""

    layers: tuple[int, ...]
    pooling: str
    transform: Transform = Transform()

    @property
    def layer(self) -> int:
        """The layer; the last of several."""
        return max(self.layers)

    @property
    def label(self) -> str:
        """The transform's name, with the layers where they are combined: `mean4-7+l2`."""
        name, combine = str(self.transform), self.transform.combine
        layers = ranges(sorted(self.layers)).replace(" ", "")
        return f"{combine}{layers}{name.removeprefix(combine)}" if combine else name

    def width(self, hidden_size: int) -> int:
        """Values of a vector, given those of one layer."""
        width = hidden_size * (len(self.layers) if self.transform.combine == "concat" else 1)
        return width if self.transform.dims is None else min(width, self.transform.dims)


def representations(
    layers: Sequence[int], poolings: Sequence[str], transforms: Sequence[Transform]
) -> list[Representation]:
    """Everything that is asked for, each once: every layer, or all combined."""
    found = []
    for transform in dict.fromkeys(transforms):
        groups = [tuple(layers)] if transform.combine else [(layer,) for layer in layers]
        found += [Representation(g, p, transform) for p in dict.fromkeys(poolings) for g in groups]
    return found


def _step(step: str, name: str) -> tuple[str, str | int | bool]:
    if step in ("mean", "concat"):
        return "combine", step
    if step in ("center", "whiten"):
        return "fit", step
    if step == "l2":
        return "l2", True
    if dims := _DIMS.fullmatch(step):
        return "dims", int(dims[1])
    raise InvalidInputError(f"The transform {name!r} has no step {step!r}. The steps: {_STEPS}.")
