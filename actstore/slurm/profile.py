"""Cluster profiles: what a cluster asks of every job, in one YAML file."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from actstore.errors import InvalidInputError
from actstore.refs import look_up
from actstore.slurm.resources import Resources

SHIPPED = Path(__file__).parent / "clusters"
STAGES = ("collect", "extract", "eval", "metrics", "report")
"""Stages that a profile can have resources for."""

_SECRET = r"\w*(?:TOKEN|KEYS?|SECRETS?|PASSWORD|PASSWD)"
_ASSIGNED_SECRET = re.compile(rf"(?<![\w-])({_SECRET})=(?![\"']?\$)", re.IGNORECASE)
_ELSEWHERE = (
    "Scripts are kept, and others can read them. Log in once instead (`hf auth login`), or export "
    "it in the shell that submits: jobs inherit that shell's environment."
)
_HOW = "Profiles of your own are {own}/NAME.yaml; a path works too. See docs/cluster-profiles.md."


def _no_secret(environment: dict[str, str]) -> dict[str, str]:
    for name, value in environment.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} cannot be the name of an environment variable.")
        if _is_secret(name):
            raise ValueError(f"{name} looks like a secret, which no profile may hold. {_ELSEWHERE}")
        _one_line(value)
    return environment


def _is_secret(name: str) -> bool:
    """HF_TOKEN and API_KEY_2 are, TOKENIZERS_PARALLELISM and HF_TOKEN_PATH are not."""
    *_, last = parts = name.upper().split("_")
    return last not in ("PATH", "FILE") and any(re.fullmatch(_SECRET, part) for part in parts)


def _one_line(line: str) -> str:
    if not line.isprintable():
        raise ValueError(f"{line!r} holds a line break or another character that does not print.")
    return line


def _shell_line(line: str) -> str:
    if match := _ASSIGNED_SECRET.search(line):
        raise ValueError(f"A line sets {match[1]}, which looks like a secret. {_ELSEWHERE}")
    return _one_line(line)


def _folder(path: str) -> str:
    if re.search(r"[`\"'\\]|\$\(", path) or not path.startswith(("/", "$", "~/")):
        raise ValueError(
            f"{path!r} is not a folder. Write an absolute path; it may hold variables of the "
            'node: "$SLURM_TMPDIR", "/scratch/$USER".'
        )
    return _one_line(path)


_Lines = Annotated[tuple[Annotated[str, AfterValidator(_shell_line)], ...], Field(strict=False)]


class DaskSettings(BaseModel):
    """Dask workers that evaluation and metrics start as jobs of their own."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    interface: str | None = Field(
        default=None, description="Network between nodes, as `ip link` names it: `ib0`, `eth0`."
    )
    processes: int = Field(default=1, ge=1, description="Worker processes of one job.")
    maximum_jobs: int = Field(
        default=4, ge=1, description="Jobs at the same time; there is at least one."
    )


class ClusterProfile(BaseModel):
    """What a cluster asks of every job: partitions and accounts, how to activate the software."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        hide_input_in_errors=True,  # it may be a secret
    )

    name: str = Field(description="What commands call it; the file's name if left out.")
    description: str = Field(default="", description="One line for people.")
    default: Resources = Field(default=Resources(), description="What every stage asks for.")
    stages: dict[str, Resources] = Field(
        default={},
        description="What a stage asks for besides, or instead: collect, extract, eval, …",
    )
    setup: _Lines = Field(
        default=(),
        description="Shell lines that make `actstore` runnable: module load, source …/activate. "
        "They run in the batch shell; workers on every node inherit its environment.",
    )
    node_setup: _Lines = Field(
        default=(),
        description="Shell lines that run before `setup`, once on each node of a job, in a shell "
        "of their own: to unpack an environment into $SCRATCH_FOLDER.",
    )
    scratch: Annotated[str, AfterValidator(_folder)] | None = Field(
        default=None,
        description='Disk of the node itself: "$SLURM_TMPDIR". Temporary files go to a folder '
        "made there for the job; where it does not exist or is full, to the node's default.",
    )
    scratch_gigabytes: int = Field(
        default=10, ge=0, description="Free space below which `scratch` is not used."
    )
    stage_hub_cache: bool = Field(
        default=False,
        description="Copy the Hugging Face hub cache to `scratch` of every node that extracts, "
        "where it fits. Pays for few checkpoints that many workers read.",
    )
    bind_gpus: bool = Field(
        default=True,
        description="Let srun show each worker its own GPU only. Set it to false where srun "
        "refuses `--gpus-per-task=1`: workers then choose by their rank.",
    )
    environment: Annotated[dict[str, str], AfterValidator(_no_secret)] = Field(
        default={},
        description="Environment variables of every job. $NAME in a value is the job's own.",
    )
    signal_seconds: int = Field(
        default=120,
        ge=1,
        le=65535,
        description="So long before the time limit jobs are told to stop and requeue.",
    )
    max_requeues: int = Field(
        default=20,
        ge=0,
        description="A job that is stopped goes on so often, preemptions included.",
    )
    max_retries: int = Field(
        default=2, ge=0, description="A job that fails is tried again so often."
    )
    retry_seconds: int = Field(
        default=60, ge=1, description="Wait before the first retry; it doubles with each."
    )
    dask: DaskSettings = Field(default=DaskSettings(), description="Dask workers as jobs.")

    def resources(self, stage: str, special: Resources | None = None) -> Resources:
        """What a stage's job asks for: `special` over the profile's stage over its default."""
        general = self.stages.get(stage, Resources()).over(self.default)
        return general if special is None else special.over(general)


def load_profile(name_or_path: str) -> ClusterProfile:
    """The cluster profile of that name, or in that file.

    A profile of one's own goes before a shipped one of the same name. Raises UnknownNameError with
    the nearest names, and InvalidInputError that tells everything wrong with the file.
    """
    path = _file(name_or_path)
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInputError(f"Cannot read the cluster profile {path}: {error}") from error
    if not isinstance(read, dict):
        raise InvalidInputError(
            f"The cluster profile {path} holds no fields. Begin from one of {SHIPPED}."
        )
    try:
        profile = ClusterProfile.model_validate({"name": path.stem} | read)
    except ValidationError as error:
        told = "".join(f"\n- {_problem(dict(one))}" for one in error.errors())
        raise InvalidInputError(
            f"The cluster profile {path} cannot be used:{told}\n"
            "docs/cluster-profiles.md says what each field means."
        ) from error
    for stage in profile.stages:
        look_up("stage", stage, STAGES, f"`stages` of {path} names it.")
    return profile


def profile_names() -> list[str]:
    """Names that `load_profile` knows: your own and those shipped."""
    return sorted(_known())


def own_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where your own profiles are: $XDG_CONFIG_HOME/actstore/clusters, or below ~/.config."""
    config = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(config).expanduser() / "actstore" / "clusters"


def _known() -> dict[str, Path]:
    return {path.stem: path for folder in (SHIPPED, own_folder()) for path in folder.glob("*.yaml")}


def _file(name_or_path: str) -> Path:
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        return Path(name_or_path).expanduser()
    known = _known()
    return known[
        look_up("cluster profile", name_or_path, sorted(known), _HOW.format(own=own_folder()))
    ]


def _problem(one: dict[str, Any]) -> str:
    *parents, last = [str(part) for part in one["loc"]] or [""]
    where = ".".join([*parents, last])
    if one["type"] == "extra_forbidden":
        return f"There is no field {where!r}. {_nearest(last, parents)}"
    found = "" if one["type"] == "value_error" else f", but found {one['input']!r}"
    what = str(one["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}{found}"


def _nearest(key: str, parents: list[str]) -> str:
    models: dict[str, type[BaseModel]] = {"dask": DaskSettings}
    model = models.get(parents[0], Resources) if parents else ClusterProfile
    fields = list(model.model_fields)
    near = difflib.get_close_matches(key, fields, n=2, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(repr(name) for name in near)}?"
    return f"There are: {', '.join(fields)}."
