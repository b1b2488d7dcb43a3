"""Metrics over depth: the share of tokens that have collapsed, or have reached a milestone.

A milestone is a layer for every token; a metric is a number for every layer. So a milestone is told
as the share of tokens that have reached it at this layer or an earlier one: it rises from layer to
layer, by those whose milestone the layer is.
"""

from __future__ import annotations

from actstore.metrics.lens import steps  # noqa: F401  (registers the quantities)
from actstore.metrics.lens.means import lens_mean
from actstore.metrics.lens.milestones import KL_BITS, RANKS
from actstore.metrics.lens.trajectory import RESID_NORM_RATIO

_GOLD = "where the answer is the text's next token"
_PROMPT = "the prompt of a token is its text up to and including it"

lens_mean(
    "lens_copy_collapse",
    "copy_collapse",
    formula="[v_1 \\in \\mathrm{prompt},\\ P_\\ell(v_1) > 0.95,\\ "
    "P_\\ell(v_1) - P_\\ell(v_2) > 0.1]",
    bounds="0 .. 1",
    unit="share",
    reference="copy_collapse of logos-in-layers, on ids; special ids and those of only whitespace "
    f"or punctuation are no copies; {_PROMPT}",
    description="share of tokens at which the layer would surely repeat a token of the prompt",
)
lens_mean(
    "lens_entropy_collapse",
    "entropy_collapse",
    formula="[H(P_\\ell) \\le 1]",
    bounds="0 .. 1",
    unit="share",
    reference="entropy_collapse of logos-in-layers",
    description="share of tokens whose prediction has at most 1 bit of entropy",
)
lens_mean(
    "lens_resid_norm_ratio",
    RESID_NORM_RATIO.name,
    formula="\\|\\mathrm{norm}(h_\\ell)\\|_2 / \\|h_\\ell\\|_2",
    bounds="0 ..",
    unit="ratio",
    reference="resid_norm_ratio of logos-in-layers",
    description="what the lens' norm makes of the residual's length; above 3 it is called a spike",
    cost="d a token",
)


def _reached(quantity: str, *, formula: str, reference: str, description: str) -> None:
    """Registers the share of tokens that have reached a milestone."""
    lens_mean(
        f"lens_{quantity}",
        quantity,
        formula=f"[\\min\\{{m : {formula}\\}} \\le \\ell]",
        bounds="0 .. 1, rising with the layer",
        unit="share",
        reference=f"{reference} of logos-in-layers, told as the share of tokens that have reached "
        "it; over all stored layers up to this one",
        description=description,
    )


_reached(
    "copy_reached",
    formula="\\mathrm{copy}_m",
    reference=f"L_copy ({_PROMPT})",
    description="share of tokens with copy collapse at this layer or an earlier one",
)
_reached(
    "entropy_collapse_reached",
    formula="H(P_m) \\le 1",
    reference="L_copy_H",
    description="share of tokens with entropy collapse at this layer or an earlier one",
)
for _bits in KL_BITS:
    _reached(
        f"kl_below_{_bits:g}_reached",
        formula=f"D(P_m \\| P_L) \\le {_bits:g}",
        reference=f"first_kl_below_{_bits} (at most, although named below)",
        description=f"share of tokens with KL(layer || final) of at most {_bits:g} bits at this "
        "layer or an earlier one; 1 at the last layer of the final lens",
    )
for _k in RANKS:
    _reached(
        f"rank_le_{_k}_reached",
        formula=f"\\mathrm{{rank}}_m(\\mathrm{{gold}}) \\le {_k}",
        reference=f"first_rank_le_{_k} ({_GOLD})",
        description=f"share of tokens whose next token ranked {_k} or better at this layer or an "
        "earlier one",
    )
