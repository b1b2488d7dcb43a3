"""What `actstore fit-lens` prints: how much nearer each lens brings each layer to the end."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from actstore.present.terminal import lines, table

if TYPE_CHECKING:
    from actstore.metrics.running.fit_request import LensFit, LensFitReport


def show_fits(report: LensFitReport) -> None:
    """A table for each checkpoint, a line for each layer."""
    for checkpoint, found in groupby(report.fits, lambda fit: fit.checkpoint):
        _show_checkpoint(report.model, checkpoint, list(found))
    lines(report.summary())


def _show_checkpoint(model: str, checkpoint: str, fits: list[LensFit]) -> None:
    first = fits[0]
    columns = zip(first.kl_without, *(fit.kl_with for fit in fits), strict=True)
    n_texts, n_tokens = first.fitted["n_texts"], first.fitted["n_tokens"]
    lines(
        f"{model} at {checkpoint}: mean KL(final || layer) in bits over "
        f"{n_tokens['evaluation']:,} tokens of {n_texts['evaluation']:,} other texts; fitted to "
        f"{n_tokens['train']:,} tokens of {n_texts['train']:,}"
    )
    table(
        ["layer", "logit lens", *(fit.name for fit in fits)],
        [
            (layer, *(f"{bits:.3f}" for bits in row))
            for layer, row in zip(first.layers, columns, strict=True)
        ],
    )
