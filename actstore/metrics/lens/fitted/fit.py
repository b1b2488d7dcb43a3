"""The kinds of fitted lenses, and fitting those of one layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from actstore.metrics.lens.fitted.affine import affine, choose_ridge
from actstore.metrics.lens.fitted.moments import RegressionMoments
from actstore.metrics.lens.fitted.procrustes import procrustes
from actstore.metrics.lens.fitted.translator import Translator, mean_shift
from actstore.refs import look_up

KINDS: Mapping[str, str] = {
    "mean_shift": "the layer's mean moved to the last layer's",
    "procrustes": "turned, scaled and shifted: orthogonal Procrustes",
    "affine": "any affine map: ridge regression, its ridge chosen by held-out texts",
    "tuned": "the affine one, its predictions brought closer to the final ones by Adam",
}
"""The fitted lenses and what each does to a layer's states, to estimate the last layer's."""


def resolve_kinds(names: Iterable[str]) -> tuple[str, ...]:
    """Kinds by name, each once, in the order of KINDS. Raises UnknownNameError."""
    list_them = f"There are: {', '.join(KINDS)}."
    asked = {look_up("fitted lens", name, list(KINDS), list_them) for name in names}
    return tuple(kind for kind in KINDS if kind in asked)


@dataclass(frozen=True, eq=False)
class ClosedForms:
    """The lenses of one layer that have a closed form."""

    translators: Mapping[str, Translator]
    """By kind, float64."""
    ridge: float
    """Of the affine one."""


def closed_forms(train: RegressionMoments, held_out: RegressionMoments) -> ClosedForms:
    """mean_shift, procrustes and affine, fitted to `train`; held_out: chooses the ridge."""
    ridge = choose_ridge(train, held_out)
    return ClosedForms(
        {
            "mean_shift": mean_shift(train),
            "procrustes": procrustes(train),
            "affine": affine(train, ridge),
        },
        ridge,
    )
