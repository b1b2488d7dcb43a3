"""Starts and stops a SLURM of several nodes on this machine; nothing outside its folder is used."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.slurm.configuration import Nodes, write_configuration

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "setpriv")


@dataclass(frozen=True)
class SlurmCluster:
    """A SLURM that is up."""

    folder: Path
    """Its configuration, state and the daemons' logs."""
    configuration: Path
    """What SLURM_CONF must be."""

    def run(self, *command: str) -> str:
        """Run one of SLURM's commands; what it printed. Raises AssertionError with its words."""
        done = subprocess.run(
            command,
            env={**os.environ, "SLURM_CONF": str(self.configuration)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def idle(self) -> bool:
        """Whether no job runs or waits."""
        return not self.run("squeue", "-h")

    def cancel_all(self) -> None:
        """Cancel every job, and wait until all are gone."""
        jobs = self.run("squeue", "-h", "-o", "%A").split()
        if jobs:
            subprocess.run(
                ["scancel", "--full", *jobs],
                env={**os.environ, "SLURM_CONF": str(self.configuration)},
                capture_output=True,
            )
        wait_until(self.idle, 60, lambda: self.run("squeue"))


def missing_programs() -> list[str]:
    """What a SLURM needs and this machine lacks."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return [name for name in _PROGRAMS if shutil.which(name, path=path) is None]


def wait_until(done: Callable[[], object], seconds: float, else_say: Callable[[], str]) -> None:
    """Return once `done()` is true. Raises AssertionError with what `else_say` gives."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {else_say()}"
        time.sleep(0.1)


@contextmanager
def slurm_cluster(nodes: Nodes | None = None) -> Iterator[SlurmCluster]:
    """A SLURM that is up within the block. Raises AssertionError with its logs if it is not.

    Its daemons are children of this process and end with it, however it ends.
    """
    nodes = nodes or Nodes()
    with ExitStack() as stack:
        # Below /tmp: a socket's path holds 107 bytes.
        folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        configuration = write_configuration(folder, nodes, _free_ports(1 + len(nodes.names())))
        cluster = SlurmCluster(folder, configuration)
        stack.callback(_kill_left_over_steps, cluster)
        _start_munge(stack, folder)
        _start(stack, folder, ["slurmctld", "-D", "-f", str(configuration)])
        for name in nodes.names():
            _start(stack, folder, ["slurmd", "-D", "-N", name, "-f", str(configuration)])
        wait_until(lambda: _all_usable(cluster, nodes), 60, lambda: _logs(folder))
        stack.callback(cluster.cancel_all)
        yield cluster


def _start_munge(stack: ExitStack, folder: Path) -> None:
    run, log, own = folder / "run", folder / "log", folder / "munge"
    own.chmod(0o700)
    key = own / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    files = {"key": key, "seed": own / "seed", "log": log / "munged.log", "pid": run / "munged.pid"}
    options = [f"--{name}-file={path}" for name, path in files.items()]
    # --force: it refuses sockets below a folder that all may write to, such as /tmp.
    socket_option = f"--socket={run / 'munge.socket'}"
    _start(stack, folder, ["munged", "-F", "--force", "--num-threads=2", socket_option, *options])
    wait_until((run / "munge.socket").exists, 30, lambda: _logs(folder))


def _start(stack: ExitStack, folder: Path, command: list[str]) -> None:
    """Start a daemon in the foreground, to be ended with the block, or with this process."""
    program = shutil.which(command[0]) or f"/usr/sbin/{command[0]}"
    with (folder / "log" / "daemons.out").open("a") as out:
        daemon = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the tests, which then end it
        )
    stack.callback(_stop, daemon)


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(20)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _all_usable(cluster: SlurmCluster, nodes: Nodes) -> bool:
    said = subprocess.run(
        ["sinfo", "-h", "-N", "-o", "%N %T"],
        env={**os.environ, "SLURM_CONF": str(cluster.configuration)},
        capture_output=True,
        text=True,
    )
    usable = {line.split()[0] for line in said.stdout.splitlines() if line.endswith(" idle")}
    return usable == set(nodes.names())


def _kill_left_over_steps(cluster: SlurmCluster) -> None:
    """Steps outlive slurmd: kill those that were started with this cluster's configuration."""
    ours = f"SLURM_CONF={cluster.configuration}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            step = (process / "exe").readlink().name.startswith("slurmstepd")
            if step and ours in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), 9)
        except OSError:  # it ended meanwhile
            continue


def _free_ports(n: int) -> list[int]:
    """n neighbouring ports that are free now, below those that the system gives to clients."""
    for _ in range(200):
        first = random.randrange(20000, 30000)
        ports = list(range(first, first + n))
        if all(map(_is_free, ports)):
            return ports
    raise AssertionError(f"no {n} neighbouring ports are free between 20000 and 30000")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _logs(folder: Path) -> str:
    """The ends of the daemons' logs."""
    return "\n".join(
        f"== {path.name}\n{path.read_text(errors='replace')[-1500:]}"
        for path in sorted((folder / "log").iterdir())
    )
