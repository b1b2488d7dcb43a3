"""Reading logs while the jobs that write them run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from actstore.slurm.logs import NewLines, log_file
from actstore.slurm.manifest import Manifest
from actstore.slurm.queue import JobState, job_states


def follow(
    manifest: Manifest, stages: Sequence[str], new: NewLines, *, every: float = 1.0
) -> Iterator[tuple[JobState, str]]:
    """New lines of the logs of these stages as they come, with whose they are, until all ended.

    new: what was read of them before. every: seconds between two looks; the
    queue is asked every ten looks, for its sake. Raises as job_states does.
    """
    while True:
        states = [one for one in job_states(manifest) if one.stage in stages]
        ended = all(one.ended for one in states)
        for _ in range(1 if ended else 10):
            if not ended:
                time.sleep(every)
            for one in states:
                path = log_file(manifest, one.stage, one.job_id, one.task)
                yield from ((one, line) for line in new.of(path))
        if ended:
            return
