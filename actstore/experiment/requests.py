"""What each stage asks the library for: an experiment's sections as the requests of commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from actstore.errors import InvalidInputError
from actstore.experiment.schema import Experiment, ModelSection, Stage
from actstore.inputs import transforms_of
from actstore.refs import model_name
from actstore.shares import Share

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from actstore.dask_pool.places import WorkerJobs
    from actstore.evaluate import EvaluationRequest
    from actstore.extract import ExtractionRequest, TokenSampleRequest
    from actstore.metrics import LensFitRequest, MetricsRequest


def extraction_request(
    experiment: Experiment,
    one: ModelSection,
    rows: NDArray[np.int64],
    sample: TokenSampleRequest | None,
) -> ExtractionRequest:
    """What is extracted of one model. rows: of the texts; sample: those stored token by token."""
    from actstore.extract import ExtractionRequest

    how = experiment.extract
    return ExtractionRequest(
        model=one.model,
        checkpoints=one.checkpoints or experiment.checkpoints,
        layers=one.layers or experiment.layers,
        poolings=experiment.poolings,
        rows=rows,
        max_tokens=how.max_tokens,
        dtype=how.dtype,
        precision=how.precision,
        compute_dtype=how.compute_dtype,
        devices=how.devices,
        device_map=how.device_map,
        threads=how.threads,
        batch_tokens=how.batch_tokens,
        attn=how.attn,
        packed=how.packed,
        compile=how.compile,
        tf32=how.tf32,
        token_sample=sample,
        token_metrics=how.token_metrics,
        lens_head=how.lens_head,
        trust_remote_code=how.trust_remote_code,
        pickled_weights=how.pickled_weights,
        same_weights=how.same_weights,
        prune_cache=how.prune_cache,
    )


def evaluation_request(
    experiment: Experiment, one: ModelSection, checkpoints: Sequence[str], share: Share | None
) -> EvaluationRequest:
    """What is scored of one model. checkpoints: those in the store. share: this process's part."""
    from actstore.evaluate import Conditions, EvaluationRequest

    how = experiment.evaluate
    return EvaluationRequest(
        model=model_name(one.model),
        suite=experiment.suite_or_tasks or "",
        checkpoints=tuple(checkpoints),
        layers=how.layers or one.layers or experiment.layers,
        poolings=how.poolings,
        transforms=transforms_of(",".join(how.transforms)),
        workers=how.workers,
        dask=how.dask,
        worker_jobs=_worker_jobs(experiment, "eval", how.dask),
        conditions=Conditions(threads=how.threads, upstream=how.upstream_code),
        share=share,
    )


def lens_fit_request(
    experiment: Experiment, one: ModelSection, checkpoints: Sequence[str], share: Share | None
) -> LensFitRequest | None:
    """Which lenses are fitted for one model; None where none is asked for."""
    from actstore.metrics import LensFitRequest

    how, tokens = experiment.metrics, experiment.tokens
    if not how.fit_lenses or tokens is None:
        return None
    return LensFitRequest(
        model=model_name(one.model),
        checkpoints=tuple(checkpoints),
        kinds=how.fit_lenses,
        sample=tokens.name,
        seed=how.seed,
        workers=how.workers,
        dask=how.dask,
        worker_jobs=_worker_jobs(experiment, "metrics", how.dask),
        share=share,
    )


def metrics_request(
    experiment: Experiment, one: ModelSection, checkpoints: Sequence[str], share: Share | None
) -> MetricsRequest:
    """What is measured of one model, on the experiment's own token sample and views."""
    from actstore.metrics import MetricsRequest

    how, tokens, views = experiment.metrics, experiment.tokens, experiment.views
    return MetricsRequest(
        model=model_name(one.model),
        checkpoints=tuple(checkpoints),
        layers=how.layers or one.layers or experiment.layers,
        metrics=how.metrics,
        tasks=how.tasks,
        sample=how.sample,
        seed=how.seed,
        poolings=how.poolings,
        against=how.against,
        view_sets=() if views is None else (views.name,),
        token_samples=() if tokens is None else (tokens.name,),
        lenses=how.lenses,
        interval_groups=how.intervals,
        workers=how.workers,
        dask=how.dask,
        worker_jobs=_worker_jobs(experiment, "metrics", how.dask),
        share=share,
    )


def _worker_jobs(experiment: Experiment, stage: Stage, dask: str | None) -> WorkerJobs | None:
    """What jobs of Dask workers ask for: as the stage's own job would, by the cluster profile."""
    if dask != "slurm":
        return None
    from actstore.slurm.dask import worker_jobs

    cluster = experiment.cluster
    if cluster.profile is None:
        raise InvalidInputError(
            "`dask: slurm` starts jobs on a cluster. Say which: `cluster: {profile: NAME}` in the "
            "file, or cluster.profile=NAME behind it."
        )
    return worker_jobs(cluster.profile, stage, cluster.stages.get(stage))
