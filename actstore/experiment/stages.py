"""The stages of an experiment: what each does to the store, and what it needs to be there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from actstore.errors import (
    ActstoreError,
    InvalidInputError,
    MissingShardsError,
    PartlyDoneError,
    UnknownNameError,
    raise_failed,
)
from actstore.experiment.material import collect_material, rows_to_extract, sample_of
from actstore.experiment.requests import (
    evaluation_request,
    extraction_request,
    lens_fit_request,
    metrics_request,
)
from actstore.experiment.schema import STAGES, Experiment, ModelSection, Stage
from actstore.present.terminal import lines
from actstore.refs import look_up, model_name
from actstore.selection import select_checkpoints
from actstore.shares import Share

if TYPE_CHECKING:
    from actstore.store import Store

__all__ = ["NEEDS", "SHARED", "STAGES", "Share", "Stage", "ordered", "run_stage", "waits_for"]

NEEDS: Mapping[Stage, tuple[Stage, ...]] = {
    "collect": (),
    "extract": ("collect",),
    "eval": ("extract",),
    "metrics": ("extract",),
    "report": ("eval", "metrics"),
}
"""The stages whose results each stage reads."""
SHARED: tuple[Stage, ...] = ("eval", "metrics")
"""Stages of which processes do a share each; those that extract divide the work as they go."""


def ordered(names: Sequence[str], experiment: Experiment) -> tuple[Stage, ...]:
    """Stages by name, in the order in which they run; the experiment's if none is named.

    Raises UnknownNameError for a stage there is not.
    """
    for name in names:
        look_up("stage", name, STAGES, "Comma-separated: --stages extract,eval")
    return tuple(stage for stage in STAGES if stage in (names or experiment.stages))


def waits_for(stage: Stage, stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Those of some stages that must be done before one of them; it bridges over stages left out.

    So `report` waits for `extract` where neither `eval` nor `metrics` is among them.
    """
    found: dict[Stage, None] = {}
    for needed in NEEDS[stage]:
        direct = (needed,) if needed in stages else waits_for(needed, stages)
        found |= dict.fromkeys(direct)
    return tuple(found)


def run_stage(
    store: Store, experiment: Experiment, stage: Stage, share: Share | None = None
) -> None:
    """Run one stage, and print what came of it as its command does. What is done is not done again.

    share: the part that this process does, of stages that are SHARED; others of it do the rest.
    Raises what the library raises, MissingShardsError that names the stage to run first where
    its input is missing, and PartlyDoneError where some of many scores failed.
    """
    if share is not None and stage not in SHARED:
        raise InvalidInputError(
            f"The stage {stage} cannot be shared out; {' and '.join(SHARED)} can. Processes that "
            "extract divide the work themselves: start as many as there are devices."
        )
    if stage == "collect":
        collect_material(store, experiment)
    elif stage == "extract":
        _extract(store, experiment)
    elif stage == "report":
        _report(store, experiment)
    else:
        _of_each_model(store, experiment, share, _evaluate if stage == "eval" else _measure)


def _extract(store: Store, experiment: Experiment) -> None:
    from actstore.extract import extract
    from actstore.present.reports import show_extraction

    rows, sample = rows_to_extract(store, experiment), sample_of(store, experiment)
    for one in experiment.each_model:
        show_extraction(extract(store, extraction_request(experiment, one, rows, sample)))


_Work = Callable[["Store", Experiment, ModelSection, tuple[str, ...], Share | None], int]
"""Does a share of what is to do for some checkpoints of one model; how much was asked of it."""


def _of_each_model(store: Store, experiment: Experiment, share: Share | None, work: _Work) -> None:
    asked, failed = 0, dict[str, ActstoreError]()
    for place, one in enumerate(experiment.each_model):
        turned = None if share is None else share.turned(place)
        try:
            asked += work(store, experiment, one, _extracted(store, experiment, one), turned)
        except PartlyDoneError as error:
            failed[one.model] = error
    raise_failed("models scored", failed, len(experiment.each_model))
    if share is not None and not asked:
        lines(f"Share {share} has nothing to do: there are more shares than parts.")


def _evaluate(
    store: Store,
    experiment: Experiment,
    one: ModelSection,
    checkpoints: tuple[str, ...],
    share: Share | None,
) -> int:
    from actstore.evaluate import evaluate
    from actstore.present.reports import show_evaluation

    report = evaluate(store, evaluation_request(experiment, one, checkpoints, share))
    show_evaluation(report)
    n_asked = report.evaluated + report.skipped + len(report.failures)
    if report.failures:
        raise PartlyDoneError(
            f"{len(report.failures):,} of {n_asked:,} scores of {report.suite} failed, as listed; "
            f"actstore status {store.url} shows them too. The others are stored: mend this and "
            "run the same again."
        )
    return n_asked


def _measure(
    store: Store,
    experiment: Experiment,
    one: ModelSection,
    checkpoints: tuple[str, ...],
    share: Share | None,
) -> int:
    from actstore.metrics import compute_metrics, fit_lens
    from actstore.present.fitted_lenses import show_fits
    from actstore.present.reports import show_metrics
    from actstore.store.sharing.leases import alone

    fits = lens_fit_request(experiment, one, checkpoints, share)
    if fits is not None:
        # Of two processes that fit the same lenses, one would rewrite what the other reads.
        with alone(store.storage, f"lenses/{fits.model}/{share or 'all'}"):
            fitted = fit_lens(store, fits)
        if fitted.fits:
            show_fits(fitted)
    report = compute_metrics(store, metrics_request(experiment, one, checkpoints, share))
    show_metrics(report)
    return len(report.records) + report.reused


def _report(store: Store, experiment: Experiment) -> None:
    from actstore.report import write_report

    if store.scores().empty and store.metric_table().empty:
        raise MissingShardsError(
            f"{store.url} has neither scores nor metrics to report. Run the stage eval or metrics "
            "first: --stages eval,metrics"
        )
    only = experiment.each_model[0].model if len(experiment.each_model) == 1 else None
    [page] = write_report(
        store, experiment.report_path, model=None if only is None else model_name(only)
    )
    lines(f"{page} written: it opens in any browser.")


def _extracted(store: Store, experiment: Experiment, one: ModelSection) -> tuple[str, ...]:
    """The experiment's checkpoints of a model. Raises MissingShardsError for those not begun."""
    name = model_name(one.model)
    known = store.checkpoints(name) if name in store.models() else []
    if not known:
        raise MissingShardsError(
            f"{store.url} holds no states of {name}. Run the stage extract first: --stages extract"
        )
    try:
        asked = select_checkpoints(one.checkpoints or experiment.checkpoints, lambda: known)
    except (InvalidInputError, UnknownNameError) as error:  # `last:50` of 30 that are there
        raise MissingShardsError(
            f"Of {name} in {store.url}: {error} Run the stage extract first: --stages extract"
        ) from error
    if missing := [checkpoint for checkpoint in asked if checkpoint not in known]:
        raise MissingShardsError(
            f"{store.url} holds no states of {name} at {_some(missing)}. Run the stage extract "
            "first: --stages extract"
        )
    return asked


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4:,} more"
