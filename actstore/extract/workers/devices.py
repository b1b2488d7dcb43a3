"""Which devices an extraction runs on: one worker process for each."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import torch

from actstore.errors import InvalidInputError

_FORMS = "Write auto, all, cuda:0,1 (a worker each), cpu, or cpu:4 (four workers)."


def worker_devices(asked: str, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """torch's name of each worker's device: `("cuda:0", "cuda:1")`, `("cpu", "cpu")`.

    `all`: every accelerator here, or the CPU where there is none. `auto`: the same, but under
    torchrun and srun, which start a process for each device themselves, only this process's own.
    Raises InvalidInputError for what cannot be read and for devices that are not here.
    """
    if asked == "auto":
        rank = local_rank(environment)
        found = _accelerators() or ("cpu",)
        return found if rank is None else (found[rank % len(found)],)
    if asked == "all":
        return _accelerators() or ("cpu",)
    devices: list[str] = []
    kind = ""
    for part in (piece.strip() for piece in asked.split(",")):
        match = re.fullmatch(r"(?:([a-z]+)(?::(\d+))?)|(\d+)", part)
        if match is None or (match[3] and not kind) or (match[3] and kind == "cpu"):
            raise InvalidInputError(f"Cannot read {part!r} in the devices {asked!r}. {_FORMS}")
        kind = match[1] or kind
        devices += _named(kind, match[2] or match[3])
    if repeated := {d for d in devices if d != "cpu" and devices.count(d) > 1}:
        raise InvalidInputError(f"The devices {asked!r} name {sorted(repeated)[0]} twice. {_FORMS}")
    return tuple(devices)


def local_rank(environment: Mapping[str, str] = os.environ) -> int | None:
    """This process's place among those that torchrun or srun started here; None without them.

    Inside an sbatch script SLURM names the tasks of the whole job too: only a step's are processes.
    """
    if "LOCAL_RANK" in environment and int(environment.get("WORLD_SIZE", "1")) > 1:
        return int(environment["LOCAL_RANK"])
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return int(environment.get("SLURM_LOCALID", "0"))
    return None


def is_first_rank(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process speaks for those that torchrun or srun started together."""
    if local_rank(environment) is None:
        return True
    return int(environment.get("RANK", environment.get("SLURM_PROCID", "0"))) == 0


def threads_each(asked: int | None, devices: tuple[str, ...]) -> int | None:
    """CPU threads of each worker: as asked, else this process's cores shared among them.

    None, torch's own choice, for one worker: it heeds OMP_NUM_THREADS, which launchers set.
    """
    if asked is not None or len(devices) == 1:
        return asked
    return max(1, len(os.sched_getaffinity(0)) // len(devices))


def _named(kind: str, number: str | None) -> list[str]:
    if kind == "cpu":
        return ["cpu"] * int(number or 1)
    here = _accelerators()
    wanted = f"{kind}:{number or 0}"
    if wanted not in here:
        raise InvalidInputError(
            f"Cannot use the device {wanted!r}: this machine has "
            f"{', '.join(here) or 'no accelerator that torch can use'}. Try --devices auto or "
            "--devices cpu."
        )
    return [wanted]


def _accelerators() -> tuple[str, ...]:
    """Every accelerator that torch can use here."""
    if not torch.accelerator.is_available():
        return ()
    current = torch.accelerator.current_accelerator()
    assert current is not None
    return tuple(f"{current.type}:{i}" for i in range(torch.accelerator.device_count()))
