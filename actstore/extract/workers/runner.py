"""Run an extraction: on one device in this process, or in a process for each device.

Nothing has to be cleaned up when a run ends early, by a signal, a time limit or a power cut: a
shard counts once it is committed, and the next run takes the ones that are not.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import cast

from actstore.extract.checkpoints.distinct import require_distinct_weights
from actstore.extract.plan import make_plan, outline_all, require_space
from actstore.extract.request import CheckpointReport, ExtractionReport, ExtractionRequest
from actstore.extract.workers.devices import threads_each, worker_devices
from actstore.extract.workers.pool import PoolReport, run_pool
from actstore.extract.workers.worker import work
from actstore.progress import progress
from actstore.stopping import stop_on_signals
from actstore.store import Json, Store
from actstore.store.records.runs import RunLog
from actstore.store.sharing.sweeping import sweep


def extract(store: Store, request: ExtractionRequest) -> ExtractionReport:
    """Store the states that a request asks for and that are not stored yet.

    Another process, here or on another node, that extracts the same joins: each shard is claimed by
    one worker. Returns once everything asked for is committed.

    Everything that can be refused is refused before weights are read: unknown names
    (UnknownNameError), a plan other than the store's (PlanMismatchError), a full disk
    (DiskSpaceError). StateRangeError leaves the shard it is found in undone, and those before it
    done, as StoppedError does on SIGTERM and SIGUSR1.
    """
    devices = worker_devices(request.devices)
    outlines = outline_all(request)
    plan = make_plan(store, request, outlines, count=False)
    require_space(plan)
    if not request.same_weights:
        sources = [one.source for one in outlines]
        require_distinct_weights(sources, pickled=request.pickled_weights)
    threads = threads_each(request.threads, devices)
    log = RunLog(store.storage, command=sys.argv, settings=_settings(request))
    sweep(store.storage)
    with progress("Extracting", plan.texts_to_do, "texts") as advance:
        if len(devices) == 1:
            alone = work(store, request, outlines, devices[0], threads, advance, log)
            done = PoolReport([alone], lost=())
        else:
            with stop_on_signals() as stop:
                stop.check()
                done = run_pool(store.absolute_url, request, devices, threads, advance)
    for how in done.lost:
        log.event("lost", message=how)
    log.event("finished")
    merged = tuple(_merged(of_one) for of_one in zip(*done.reports, strict=True))
    return ExtractionReport(request.model, store.url, merged, done.lost)


def _merged(of_one: Sequence[CheckpointReport]) -> CheckpointReport:
    """What all workers together did of one checkpoint."""
    first = of_one[0]
    written = sum(report.shards_written for report in of_one)
    n_shards = first.shards_written + first.shards_kept
    heads = [report.lens_head for report in of_one]
    return replace(
        first,
        shards_written=written,
        shards_kept=n_shards - written,
        n_texts=sum(report.n_texts for report in of_one),
        n_tokens=sum(report.n_tokens for report in of_one),
        n_truncated=sum(report.n_truncated for report in of_one),
        seconds=max(report.seconds for report in of_one),
        lens_head="stored" if "stored" in heads else heads[0],
    )


def _settings(request: ExtractionRequest) -> dict[str, Json]:
    """The request as the run log keeps it: without the rows, which may be millions."""
    short = replace(request, rows=None, token_sample=None)
    return cast(dict[str, Json], asdict(short))
