"""A SLURM of the tests' own, and chains of jobs for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.slurm.cluster import SlurmCluster, slurm_cluster


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[SlurmCluster]:
    """One SLURM for all tests of a process: two GPU nodes and a CPU node, all on this machine."""
    with slurm_cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(
    running_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SlurmCluster]:
    """The SLURM that commands of this test talk to; no job of it is left afterwards."""
    monkeypatch.setenv("SLURM_CONF", str(running_cluster.configuration))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    yield running_cluster
    running_cluster.cancel_all()
