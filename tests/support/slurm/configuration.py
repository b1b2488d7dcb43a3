"""The configuration files of a SLURM whose nodes are all this machine, written for 22.05 on."""

from __future__ import annotations

import getpass
import re
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Nodes:
    """The nodes there are; each claims to have more than the machine, so that jobs start at once.

    Partitions: `cpu` (the default), `gpu`, and `lowprio` of the same nodes, whose jobs are
    preempted by those of `gpu`.
    """

    gpu: int = 2
    """Nodes gpu1, gpu2, …"""
    cpu: int = 1
    """Nodes cpu1, …"""
    cpus: int = 4
    """Of a node."""
    gpus: int = 2
    """Of a GPU node: devices that do nothing, whose numbers are in CUDA_VISIBLE_DEVICES."""
    memory: int = 6000
    """Of a node, in MB."""

    def names(self) -> list[str]:
        """All nodes."""
        return [f"gpu{i + 1}" for i in range(self.gpu)] + [f"cpu{i + 1}" for i in range(self.cpu)]


def write_configuration(folder: Path, nodes: Nodes, ports: Sequence[int]) -> Path:
    """Write slurm.conf and what belongs to it below `folder`; its path.

    ports: one for slurmctld, then one for each node.
    """
    for name in ("etc", "run", "log", "state", "munge", "gpu"):
        (folder / name).mkdir(mode=0o755)
    for name in nodes.names():
        (folder / "spool" / name).mkdir(parents=True)
    for i in range(nodes.gpus):
        # A GPU must be a character device whose name ends in its number: a plain file gives jobs
        # an empty CUDA_VISIBLE_DEVICES.
        (folder / "gpu" / f"fake{i}").symlink_to("/dev/null")
    etc = folder / "etc"
    (etc / "gres.conf").write_text(
        f"NodeName=gpu[1-{nodes.gpu}] Name=gpu File={folder}/gpu/fake[0-{nodes.gpus - 1}]\n"
    )
    (etc / "cgroup.conf").write_text(f"CgroupPlugin={_cgroup_plugin()}\n")
    (etc / "slurm.conf").write_text(_slurm_conf(folder, nodes, ports))
    return etc / "slurm.conf"


def _slurm_conf(folder: Path, nodes: Nodes, ports: Sequence[int]) -> str:
    host, user = socket.gethostname().split(".")[0], getpass.getuser()
    lines = [
        "ClusterName=tests",
        f"SlurmctldHost={host}(127.0.0.1)",
        f"SlurmUser={user}",
        f"SlurmdUser={user}",
        f"SlurmctldPort={ports[0]}",
        "AuthType=auth/munge",
        "CredType=cred/munge",
        # cred_expire is also how long a requeued job waits: 120 s unless it is said.
        f"AuthInfo=socket={folder}/run/munge.socket,cred_expire=5",
        *_loopback_only(host),
        f"StateSaveLocation={folder}/state",
        f"SlurmdSpoolDir={folder}/spool/%n",
        f"SlurmctldPidFile={folder}/run/slurmctld.pid",
        f"SlurmdPidFile={folder}/run/slurmd.%n.pid",
        f"SlurmctldLogFile={folder}/log/slurmctld.log",
        f"SlurmdLogFile={folder}/log/slurmd.%n.log",
        "MailProg=/bin/true",
        # No cgroups: containers have none to give. So memory is not enforced.
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "JobAcctGatherType=jobacct_gather/none",
        "SwitchType=switch/none",
        "MpiDefault=none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core_Memory",
        "DefMemPerCPU=500",
        "GresTypes=gpu",
        "SlurmdParameters=config_overrides",
        "ReturnToService=2",
        "SlurmctldTimeout=30",
        "SlurmdTimeout=60",
        "KillWait=5",
        "MinJobAge=86400",
        "MaxArraySize=10001",
        "SchedulerType=sched/backfill",
        "SchedulerParameters=bf_interval=1,sched_interval=2,batch_sched_delay=1,"
        "requeue_setup_env_fail,preempt_youngest_first",
        "PreemptType=preempt/partition_prio",
        "PreemptMode=REQUEUE",
        "SlurmctldParameters=preempt_send_user_signal",
        "JobRequeue=1",
        "AccountingStorageType=accounting_storage/none",
        "JobCompType=jobcomp/none",
    ]
    for name, port in zip(nodes.names(), ports[1:], strict=True):
        what = f"Gres=gpu:{nodes.gpus} Feature=gpu" if name.startswith("gpu") else "Feature=cpu"
        lines.append(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
            f"CPUs={nodes.cpus} RealMemory={nodes.memory} {what} State=UNKNOWN"
        )
    times = "DefaultTime=10 MaxTime=INFINITE State=UP"
    lines += [
        f"PartitionName=gpu Nodes=gpu[1-{nodes.gpu}] PriorityTier=10 PreemptMode=OFF {times}",
        f"PartitionName=lowprio Nodes=gpu[1-{nodes.gpu}] PriorityTier=1 PreemptMode=REQUEUE "
        f"GraceTime=10 {times}",
        f"PartitionName=cpu Nodes=cpu[1-{nodes.cpu}] Default=YES PriorityTier=10 "
        f"PreemptMode=OFF {times}",
    ]
    return "\n".join(lines) + "\n"


def _loopback_only(host: str) -> list[str]:
    """Listen nowhere else; slurmctld ends at once where its own name has another address."""
    try:
        loopback = socket.gethostbyname(host).startswith("127.")
    except OSError:
        loopback = False
    return ["CommunicationParameters=NoCtldInAddrAny,NoInAddrAny"] if loopback else []


def _cgroup_plugin() -> str:
    """What loads no cgroup: before 23.11 slurmd looks for one even where nothing uses it."""
    said = subprocess.run(["slurmctld", "-V"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    version = tuple(map(int, found.groups())) if found else (0, 0)
    return "disabled" if version >= (23, 11) else "cgroup/v1"
