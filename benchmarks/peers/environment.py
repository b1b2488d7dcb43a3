"""Environments of the peers: made once, from pinned requirements, and run as separate programs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.peers.protocol import Outcome, Task, as_arguments

_HERE = Path(__file__).parent
_CHECKOUT = _HERE.parents[1]
_COMPLETE = "complete"
_NO_CHANGE: Mapping[str, str] = {}


class PeerFailedError(Exception):
    """A peer could not be installed or did not run; the message ends with what it said."""


def python_of(peer: str, environments: Path) -> Path:
    """The Python that runs a peer: this one, or one with its pinned requirements."""
    requirements = _HERE / "requirements" / f"{peer}.txt"
    if not requirements.exists():
        return Path(sys.executable)
    pinned = hashlib.sha256(requirements.read_bytes()).hexdigest()[:8]
    folder = environments / f"{peer}-{pinned}"
    python = folder / "bin" / "python"
    if not (folder / _COMPLETE).exists():
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements)])
        (folder / _COMPLETE).touch()
    return python


def run_peer(
    peer: str, python: Path, task: Task, environment: Mapping[str, str] = _NO_CHANGE
) -> Outcome:
    """Run a peer's program in an empty folder, without a network.

    environment: variables set for it, besides those for threads and for staying offline.
    """
    shutil.rmtree(task.folder, ignore_errors=True)
    task.folder.mkdir(parents=True)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(task.threads))
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(task.folder)}
    ours = {**threads, **offline, **environment}
    return Outcome(**json.loads(run_program(peer, python, as_arguments(task), ours)))


def run_program(
    peer: str, python: Path, arguments: Sequence[str], environment: Mapping[str, str] = _NO_CHANGE
) -> str:
    """Run a peer's program; the last line it prints."""
    command = [str(python), "-m", f"benchmarks.peers.{peer}", *arguments]
    ours = {**os.environ, "PYTHONPATH": str(_CHECKOUT), **environment}
    return _run(command, ours).splitlines()[-1]


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        said = "\n".join(done.stderr.splitlines()[-8:])
        raise PeerFailedError(f"{' '.join(command[:4])} … ended with {done.returncode}:\n{said}")
    return done.stdout
