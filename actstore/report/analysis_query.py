"""What is asked of the tables of an analysis, and how it is written in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from actstore.errors import InvalidInputError
from actstore.refs import look_up
from actstore.report.correlation import Correction, CorrelationRequest, Method
from actstore.report.tables import Baseline, Gaps


@dataclass(frozen=True)
class AnalysisQuery:
    """Of what the tables are, and how."""

    suite: str | None = None
    """A collected suite, or scored tasks separated by commas; None: all scored tasks."""
    model: str | None = None
    """None: all."""
    poolings: tuple[str, ...] = ()
    """None named: all."""
    gaps: Gaps = Gaps.NAN
    baseline: Baseline = field(default_factory=Baseline)
    """Of win rates."""
    correction: Correction = Correction.HOLM
    """Of win rates."""
    steps_of: Mapping[str, float] = field(default_factory=dict)
    """Training steps of checkpoints whose names state none, for slopes."""
    correlations: CorrelationRequest = field(default_factory=CorrelationRequest)


def analysis_query(
    *,
    suite: str | None,
    model: str | None,
    poolings: tuple[str, ...],
    gaps: str,
    baseline: str,
    steps_of: Sequence[str],
    methods: Sequence[str],
    surrogates: int,
    correction: str,
    seed: int,
) -> AnalysisQuery:
    """A query from words. methods: none named are all. correction: empty for the usual ones.

    baseline: `CHECKPOINT`, `CHECKPOINT:LAYER`, `:LAYER`. steps_of: `CHECKPOINT=STEP`.
    Raises UnknownNameError, and InvalidInputError for what cannot be read.
    """
    chosen = [Method(look_up("coefficient", name, [*Method], "")) for name in methods]
    if correction:
        look_up("correction", correction, [*Correction], "")
    request = CorrelationRequest(
        methods=tuple(chosen) or tuple(Method),
        surrogates=surrogates,
        seed=seed,
        correction=Correction(correction or Correction.BH),
    )
    return AnalysisQuery(
        suite=suite,
        model=model,
        poolings=poolings,
        gaps=Gaps(look_up("treatment of gaps", gaps, [*Gaps], "Write for instance: --gaps slice")),
        baseline=_baseline(baseline),
        correction=Correction(correction or Correction.HOLM),
        steps_of=dict(_step(pair) for pair in steps_of),
        correlations=request,
    )


def _baseline(written: str) -> Baseline:
    checkpoint, _, layer = written.partition(":")
    if layer and not layer.isdigit():
        raise InvalidInputError(
            f"{written!r} is no baseline: {layer!r} is no layer. Write: --baseline main:24"
        )
    return Baseline(checkpoint or None, int(layer) if layer else None)


def _step(pair: str) -> tuple[str, float]:
    checkpoint, _, step = pair.rpartition("=")
    if not (checkpoint and step.isdigit()):
        raise InvalidInputError(f"{pair!r} names no training step. Write: --step main=143000")
    return checkpoint, float(step)
