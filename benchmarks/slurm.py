"""`actstore slurm submit` of an experiment of four stages, process start included, on a real SLURM.

    python -m benchmarks.slurm [--rounds 3]

Starts the SLURM of the tests on this machine, submits, cancels, and submits again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.timing import Cost, cost
from tests.support.slurm.cluster import SlurmCluster, slurm_cluster

EXPERIMENT = """\
name: benchmark
store: benchmark.zarr
model: EleutherAI/pythia-410m
checkpoints: [step1000, main]
tasks: [STSBenchmark]
stages: [collect, extract, eval, report]
cluster:
  profile: profile.yaml
  stages: {extract: {array: 8, at_once: 4}, eval: {array: 16}}
"""
PROFILE = "default: {memory: 500M, time: '01:00:00'}\n"


def submissions(folder: Path, cluster: SlurmCluster, rounds: int) -> list[Cost]:
    """What each of so many submissions cost; its jobs are cancelled before the next."""
    (folder / "benchmark.yaml").write_text(EXPERIMENT)
    (folder / "profile.yaml").write_text(PROFILE)
    costs = []
    for _ in range(rounds):
        costs.append(cost(lambda: _submit(folder, cluster)))
        cluster.cancel_all()
    return costs


def _submit(folder: Path, cluster: SlurmCluster) -> None:
    command = [sys.executable, "-m", "actstore", "slurm", "submit", str(folder / "benchmark.yaml")]
    environment = {**os.environ, "SLURM_CONF": str(cluster.configuration)}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, slurm_cluster() as cluster:
        # Jobs need not start: what is timed is how they get into the queue.
        cluster.run("scontrol", "update", "PartitionName=cpu", "State=DOWN")
        costs = submissions(Path(folder), cluster, rounds)
    for one in costs:
        print(f"submit of 4 stages: {one.wall:.2f} s, {one.cpu:.2f} s of CPU")
    print(f"median {median(one.wall for one in costs):.2f} s (target 5 s)")


if __name__ == "__main__":
    main()
