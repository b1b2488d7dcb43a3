"""Dask workers in processes of this machine."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

from distributed import Scheduler, SpecCluster
from distributed.deploy.subprocess import SubprocessWorker


class _Process(SubprocessWorker):  # type: ignore[misc]  # distributed has no types
    """A worker in a process of its own, with its own environment."""

    def __init__(self, scheduler: str, environment: Mapping[str, str], **options: Any) -> None:
        super().__init__(scheduler, **options)
        self.environment = environment

    async def _start(self) -> None:
        spec = json.dumps({"cls": self.worker_class, "opts": self.worker_kwargs})
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dask", "spec", self.scheduler, "--spec", spec),
            env={**os.environ, **self.environment},
        )


def local_cluster(processes: int, environment: Mapping[str, str], *, dashboard: bool) -> Any:
    """A cluster with its scheduler in this process and its workers in new ones.

    Unlike LocalCluster's, the workers do not import the caller's script, so a script needs no
    `if __name__ == "__main__"`; like them, they end when this process does, however it ends, and
    one that is killed is replaced.
    """
    host = "127.0.0.1"
    options = {"host": host, "nthreads": 1, "silence_logs": logging.WARNING}
    worker = {
        "cls": _Process,
        "options": {"worker_kwargs": options, "environment": environment},
    }
    scheduler = {"host": host, "port": 0, "dashboard": dashboard, "dashboard_address": ":0"}
    return SpecCluster(
        workers=dict.fromkeys(range(processes), worker),
        scheduler={"cls": Scheduler, "options": scheduler},
        silence_logs=logging.WARNING,
    )
