"""One worker: extracts on one device whatever is not done yet, beside any number of others.

Workers share nothing but the store. Each shard is claimed through a lease, extracted and committed;
a worker leaves when everything that was asked for is committed, by whomever. So workers may be
added at any time, on any node, and the shards of one that dies are taken over by the others.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import numpy as np

from actstore.errors import StoppedError
from actstore.extract.checkpoints.sources import prune
from actstore.extract.checkpoints.weights import WeightsAhead
from actstore.extract.model.load import LoadSettings
from actstore.extract.model.precision import float32_precision
from actstore.extract.model.threads import cpu_threads
from actstore.extract.outline import Outline
from actstore.extract.plan import outline_all, wanted_rows
from actstore.extract.request import CheckpointReport, ExtractionRequest
from actstore.extract.states.forward import ForwardSettings
from actstore.extract.tokens import ShardTokens
from actstore.extract.work import (
    Advance,
    Extracted,
    ShardJob,
    Tally,
    naming,
    shard_work,
    stored_group,
)
from actstore.extract.workers.begin import Begun, begin, lacks_head
from actstore.extract.workers.committing import Committer
from actstore.extract.workers.lazy import LazyModel
from actstore.extract.workers.pooled import PooledJob
from actstore.extract.workers.samples import SampleJob
from actstore.stopping import StopSignal, stop_on_signals
from actstore.store import CheckpointGroup, Json, Store, open_store
from actstore.store.records.runs import RunLog
from actstore.store.sharing.leases import Lease, LeaseInfo, Leases, live_leases

_POLL_SECONDS = (0.2, 3.0)
"""Between looks at what others hold: at first, and at most."""
_GOLDEN = (5**0.5 - 1) / 2


@dataclass
class _Done:
    """What this worker did of one checkpoint."""

    head: str = ""
    shards: int = 0
    """Of the pooled arrays, those that were there before included."""
    written: int = 0
    tally: Tally = field(default_factory=Tally)
    seconds: float = 0.0


def work(
    store: Store,
    request: ExtractionRequest,
    outlines: Sequence[Outline],
    device: str,
    threads: int | None,
    advance: Advance,
    log: RunLog,
) -> list[CheckpointReport]:
    """Extract on one device until everything asked for is committed; says what this worker did.

    advance: told how many texts went through. Raises StoppedError on SIGTERM and SIGUSR1, with the
    leases released and what was being committed finished.
    """
    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())
        stack.enter_context(cpu_threads(threads))
        stack.enter_context(float32_precision(request.tf32))
        worker = _Worker(
            store=store,
            request=request,
            outlines=outlines,
            device=device,
            advance=advance,
            log=log,
            stop=stop,
            leases=stack.enter_context(Leases(store.storage, seconds=request.lease_seconds)),
            tokens=stack.enter_context(ShardTokens(store)),
            weights=stack.enter_context(WeightsAhead(pickled=request.pickled_weights)),
            committer=stack.enter_context(Committer()),
        )
        stack.callback(stop.hold)  # a signal while leases are given back would leave some behind
        try:
            worker.run()
        except StoppedError as error:
            log.event("stopped", message=str(error))
            raise
        except Exception as error:
            where: dict[str, Json] = {"model": request.model, "checkpoint": worker.current}
            message = "\n".join([str(error), *getattr(error, "__notes__", [])])
            log.event("error", error=type(error).__name__, message=message, **where)
            raise
    return worker.reports()


def join(
    url: str, request: ExtractionRequest, device: str, threads: int | None, advance: Advance
) -> list[CheckpointReport]:
    """`work` in a process of its own, which was told no more than where the store is."""
    store = open_store(url)
    outlines = outline_all(request)
    log = RunLog(store.storage, command=sys.argv, settings={"device": device})
    return work(store, request, outlines, device, threads, advance, log)


@dataclass
class _Worker:
    store: Store
    request: ExtractionRequest
    outlines: Sequence[Outline]
    device: str
    advance: Advance
    log: RunLog
    stop: StopSignal
    leases: Leases
    tokens: ShardTokens
    weights: WeightsAhead
    committer: Committer

    def __post_init__(self) -> None:
        self.rows = wanted_rows(self.store, self.request)
        self.done = {one.checkpoint: _Done() for one in self.outlines}
        self.begun: dict[str, Begun] = {}
        self.current: str | None = None
        """The checkpoint that is being worked on."""

    def run(self) -> None:
        """Round after round over the checkpoints, until no shard is left to anybody."""
        pending, pause = list(self.outlines), _POLL_SECONDS[0]
        while pending:
            left, written = list(pending), self._n_written()
            while left:
                one = self._least_taken(left)
                left.remove(one)
                if self._work_on(one, left):
                    pending.remove(one)
            if pending and self._n_written() == written:
                self.stop.check()
                time.sleep(pause)  # others hold what is left: be there if they fail
                pause = min(2 * pause, _POLL_SECONDS[1])

    def reports(self) -> list[CheckpointReport]:
        return [
            CheckpointReport(
                checkpoint=checkpoint,
                shards_written=done.written,
                shards_kept=done.shards - done.written,
                n_texts=done.tally.n_texts,
                n_tokens=done.tally.n_tokens,
                n_truncated=done.tally.n_truncated,
                seconds=done.seconds,
                lens_head=done.head,
            )
            for checkpoint, done in self.done.items()
        ]

    def _work_on(self, one: Outline, left: Sequence[Outline]) -> bool:
        """Extract what is free of a checkpoint; True if all of it is committed then."""
        start, done = time.monotonic(), self.done[one.checkpoint]
        self.current = one.checkpoint
        stored, begun = stored_group(self.store, one), self.begun.get(one.checkpoint)
        lm_head = begun is None and lacks_head(self.request, one, stored)
        model = LazyModel(one, self._load_settings(), lm_head=lm_head)
        try:
            if begun is None:
                self.log.event("checkpoint", model=one.source.model, checkpoint=one.checkpoint)
                begun = self.begun[one.checkpoint] = self._begin(model, stored, left[:1])
            done.shards = len(np.unique(self.rows // begun.group.layout.rows_per_shard))
            done.head = begun.head if done.head in ("", "kept") else done.head
            self._extract(begun, model)
            finished = not self._jobs(begun, model)
            if finished and self.request.prune_cache:
                prune(one.source, keep=[other.source for other in left])
            return finished
        finally:
            model.release()
            done.seconds += time.monotonic() - start

    def _begin(
        self, model: LazyModel, stored: CheckpointGroup | None, following: Sequence[Outline]
    ) -> Begun:
        one = model.outline
        weights = self.weights.of(one.source, stored.spec if stored else None)
        for other in following:
            group = stored_group(self.store, other)
            self.weights.ahead(other.source, group.spec if group else None)
        if model.lm_head or stored is None:
            model.get()  # before the lease: others may load theirs meanwhile
        with self.leases.alone(f"{_unit(one)}/begin"):
            begun = begin(self.store, self.request, model, weights, self.rows, self.tokens)
        model.drop_head()
        return begun

    def _extract(self, begun: Begun, model: LazyModel) -> None:
        for job, lease in self._claimed(begun, self._jobs(begun, model)):
            self.stop.check()
            with naming(job.shard, begun.group):
                extracted = job.run(self._advance)
            self.committer.submit(partial(self._commit, begun.one, job, extracted, lease))
        self.committer.flush()

    def _advance(self, n_texts: int) -> None:
        self.stop.check()  # a signal may have met a library that swallows every exception
        self.advance(n_texts)

    def _jobs(self, begun: Begun, model: LazyModel) -> list[ShardJob]:
        """What of a checkpoint is not committed yet."""
        one, group, request = begun.one, begun.group, self.request
        settings = ForwardSettings(
            one.layers, one.dtype, request.batch_tokens, request.packed, request.compile
        )
        jobs: list[ShardJob] = [
            PooledJob(group, part, model, self.tokens, settings)
            for part in shard_work(group, self.rows, request)
        ]
        if request.token_sample is not None:
            sample = group.token_sample(request.token_sample.name)
            jobs += [SampleJob(sample, shard, model, settings) for shard in sample.todo()]
        return jobs

    def _claimed(self, begun: Begun, jobs: Sequence[ShardJob]) -> Iterator[tuple[ShardJob, Lease]]:
        """The jobs that no other worker has, each claimed when its turn comes."""
        there = len(_workers_at(begun.one, live_leases(self.store.storage)))
        first = int(len(jobs) * (there * _GOLDEN % 1))  # far from where the others began
        for job, following in pairwise([*jobs[first:], *jobs[:first], None]):
            assert job is not None
            lease = self.leases.claim(f"{_unit(begun.one)}/{job.unit}")
            if lease is None:
                continue
            if job.done():  # since the list of jobs was made
                lease.release()
                continue
            if following is not None:
                following.prepare()
            yield job, lease

    def _commit(self, one: Outline, job: ShardJob, extracted: Extracted, lease: Lease) -> None:
        """In the committing thread, also where another worker took the shard over meanwhile.

        Else two whose clocks differ by more than a lease could take it from each other for ever.
        """
        if lease.lost and job.done():
            return
        extracted.commit()
        lease.release()
        tally = extracted.tally
        self.log.event(
            "committed",
            model=one.source.model,
            checkpoint=one.checkpoint,
            unit=job.unit,
            texts=tally.n_texts,
            tokens=tally.n_tokens,
        )
        done = self.done[one.checkpoint]
        done.tally += tally
        done.written += isinstance(job, PooledJob)

    def _least_taken(self, left: Sequence[Outline]) -> Outline:
        """The checkpoint that the fewest workers are at: they spread, and each loads fewer."""
        live = live_leases(self.store.storage)
        return min(left, key=lambda one: len(_workers_at(one, live)))

    def _n_written(self) -> int:
        return sum(done.written for done in self.done.values())

    def _load_settings(self) -> LoadSettings:
        request = self.request
        return LoadSettings(
            device=self.device,
            device_map=request.device_map,
            compute_dtype=request.compute_dtype,
            attn=request.attn,
            pickled_weights=request.pickled_weights,
        )


def _workers_at(one: Outline, live: Sequence[LeaseInfo]) -> set[str]:
    """The workers that hold something of a checkpoint."""
    return {lease.worker for lease in live if lease.unit.startswith(f"{_unit(one)}/")}


def _unit(one: Outline) -> str:
    return f"{one.source.model}/{one.checkpoint}"
