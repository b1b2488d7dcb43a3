"""Jobs for Dask workers, as a cluster profile has them."""

from __future__ import annotations

from collections.abc import Iterator

from actstore.dask_pool.places import WorkerJobs
from actstore.slurm.profile import ClusterProfile, load_profile
from actstore.slurm.resources import Resources
from actstore.slurm.scripts import preparation


def worker_jobs(
    cluster: str | ClusterProfile, stage: str, special: Resources | None = None
) -> WorkerJobs:
    """What jobs of Dask workers ask for: what the stage's own job would, less GPUs and arrays.

    cluster: a profile, its name or its file. special: resources that go before the profile's. A
    job has a node, and a core for each of the profile's `dask: processes`. Raises what
    `load_profile` raises.
    """
    profile = load_profile(cluster) if isinstance(cluster, str) else cluster
    resources = profile.resources(stage, special)
    return WorkerJobs(
        options=tuple(_options(resources)),
        setup=tuple(preparation(profile).splitlines()),
        processes=profile.dask.processes,
        maximum_jobs=profile.dask.maximum_jobs,
        memory=resources.memory or None,
        interface=profile.dask.interface,
    )


def _options(resources: Resources) -> Iterator[str]:
    yield "--nodes=1"
    named = {
        "partition": resources.partition,
        "account": resources.account,
        "qos": resources.qos,
        "constraint": resources.constraint,
        "mem": resources.memory,
        "time": resources.time,
        "nodelist": resources.nodelist,
        "exclude": resources.exclude,
        "nice": resources.nice,
    }
    yield from (f"--{name}={value}" for name, value in named.items() if value not in (None, ""))
    if resources.exclusive:
        yield "--exclusive"
    yield from (line.removeprefix("#SBATCH ") for line in resources.extra)
