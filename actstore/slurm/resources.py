"""What a job asks of SLURM: checked when it is written, merged from the special to the general."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_TIME = re.compile(r"(?:(?P<d>\d+)-)?(?P<a>\d+)(?::(?P<b>\d\d))?(?::(?P<c>\d\d))?")
_TIME_FORMS = 'Write "90" (minutes), "24:00:00" or "2-12:00:00", in quotes.'
_MEMORY = re.compile(r"\d+[KMGT]?")
_OPTION = re.compile(r"(?:#SBATCH\s+)?(--[a-z][a-z0-9-]*)(?:[= ].*)?")
_OURS = (
    *("--array", "--chdir", "--dependency", "--error", "--job-name", "--kill-on-invalid-dep"),
    *("--no-requeue", "--open-mode", "--output", "--requeue", "--signal"),
)
"""Options that the scripts depend on and set themselves."""


def time_in_seconds(time: str) -> int | None:
    """Seconds of a time limit in SLURM's notation; None for one without end.

    Minutes, H:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS. Raises ValueError for anything else, and for
    MM:SS: `24:00` is 24 minutes to SLURM, and a day to who writes it.
    """
    if time.upper() in ("UNLIMITED", "INFINITE"):
        return None
    match = _TIME.fullmatch(time)
    if match is None:
        raise ValueError(f"{time!r} is not a time limit. {_TIME_FORMS}")
    days, *parts = (None if part is None else int(part) for part in match.groups())
    first, second, third = parts
    if days is not None:
        return ((days * 24 + (first or 0)) * 60 + (second or 0)) * 60 + (third or 0)
    if second is None:
        return 60 * (first or 0)
    if third is None:
        raise ValueError(
            f"{time!r} would be {first} minutes and {second} seconds to SLURM. Write "
            f'"{time}:00" for hours and minutes, or "{first}" for minutes.'
        )
    return ((first or 0) * 60 + second) * 60 + third


def _quoted_time(value: Any) -> Any:
    if isinstance(value, int):
        raise ValueError(
            f"{value} is a number: YAML reads 24:00:00 without quotes as one, in base 60. "
            f"{_TIME_FORMS}"
        )
    return value


def _time(value: str) -> str:
    if value and time_in_seconds(value) == 0:
        raise ValueError(f"{value!r} is no time at all. {_TIME_FORMS}")
    return value


def _unit_of_memory(value: Any) -> Any:
    if isinstance(value, int):
        raise ValueError(f'{value} is a number without a unit. Write "{value}G" or "{value}M".')
    return value


def _memory(value: str) -> str:
    if value and not _MEMORY.fullmatch(value):
        raise ValueError(
            f'{value!r} is not an amount of memory. Write "64G" or "64000M"; "0" is all of a node.'
        )
    return value


def _one_word(value: str) -> str:
    if re.search(r"[\s\"'`\\]", value):
        raise ValueError(
            f"{value!r} holds a space, a quote or a backslash, which no name in SLURM does."
        )
    return value


def _extra(line: str) -> str:
    match = _OPTION.fullmatch(line.strip())
    if match is None:
        raise ValueError(
            f'{line!r} is not a line for sbatch. Write one long option: "#SBATCH --mail-type=FAIL".'
        )
    if match[1] in _OURS:
        raise ValueError(
            f"{match[1]} cannot be given in `extra`: the scripts set it themselves, and stopping "
            "and going on depend on it."
        )
    return f"#SBATCH {line.strip().removeprefix('#SBATCH').strip()}"


_Word = Annotated[str, AfterValidator(_one_word)]
_Time = Annotated[str, BeforeValidator(_quoted_time), AfterValidator(_time)]
_Memory = Annotated[str, BeforeValidator(_unit_of_memory), AfterValidator(_memory)]
_Extra = Annotated[str, AfterValidator(_extra)]


class Resources(BaseModel):
    """What one job asks for. What is left out falls back to the profile, then to SLURM.

    An empty string, and 0 GPUs, take back what the profile asks for.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    partition: _Word | None = Field(default=None, description="Partition, or several with commas.")
    account: _Word | None = Field(default=None, description="Account the job is charged to.")
    qos: _Word | None = Field(default=None, description="Quality of service.")
    constraint: _Word | None = Field(default=None, description="Features of nodes: `a100|h100`.")
    gres: _Word | None = Field(
        default=None, description="Generic resources of a node: `gpu:a100:4`."
    )
    memory: _Memory | None = Field(
        default=None, description='Memory of a node: "64G"; "0" is all of it.'
    )
    time: _Time | None = Field(
        default=None,
        description='Limit: "90" (minutes), "24:00:00" or "2-12:00:00", always in quotes.',
    )
    nodelist: _Word | None = Field(default=None, description="Nodes to run on: `gpu[1-4]`.")
    exclude: _Word | None = Field(default=None, description="Nodes to keep off.")
    nodes: int | None = Field(default=None, ge=1, description="Nodes of a job.")
    tasks_per_node: int | None = Field(
        default=None, ge=1, description="Workers of a node; one for each GPU if left out."
    )
    cpus_per_task: int | None = Field(default=None, ge=1, description="Cores of a worker.")
    gpus_per_node: int | None = Field(
        default=None, ge=0, description="GPUs of a node, of any kind."
    )
    nice: int | None = Field(default=None, description="Lower the job's priority by so much.")
    exclusive: bool | None = Field(default=None, description="Share the nodes with no other job.")
    array: int | None = Field(
        default=None, ge=1, description="So many array tasks, which share the work of the stage."
    )
    at_once: int | None = Field(
        default=None, ge=1, description="So many array tasks run at the same time."
    )
    extra: tuple[_Extra, ...] = Field(
        default=(),
        description='Lines for sbatch as they are: "#SBATCH --mail-type=FAIL".',
        strict=False,
    )

    @model_validator(mode="after")
    def _one_count_of_gpus(self) -> Self:
        if self.gres and self.gpus_per_node and _gpus(self.gres):
            raise ValueError(
                f"gres ({self.gres}) and gpus_per_node ({self.gpus_per_node}) both ask for GPUs. "
                "Keep one: gres where their kind matters."
            )
        return self

    @property
    def gpus(self) -> int:
        """GPUs of each node that the job asks for."""
        return self.gpus_per_node or _gpus(self.gres or "")

    def over(self, other: Resources) -> Resources:
        """These resources; `other`'s where these say nothing.

        GPUs are one thing said in two ways: `gpus_per_node` here replaces a `gres` of GPUs there,
        and the other way round.
        """
        mine = {name: value for name, value in self if value is not None and value != ()}
        theirs = {name: value for name, value in other if value is not None}
        if "gpus_per_node" in mine and _gpus(theirs.get("gres", "")):
            del theirs["gres"]
        if _gpus(mine.get("gres", "")) or mine.get("gres") == "":
            theirs.pop("gpus_per_node", None)
        return Resources(**theirs | mine)


def _gpus(gres: str) -> int:
    """GPUs among generic resources: `gpu:a100:4,nvme:1` -> 4, `gpu` -> 1."""
    parts = [part.split(":") for part in re.sub(r"\(.*?\)", "", gres).split(",")]
    return sum(int(p[-1]) if p[-1].isdigit() else 1 for p in parts if p[0] == "gpu")
