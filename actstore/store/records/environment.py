"""What a run ran in: versions, code, machine and settings. Only what is listed here is kept."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from actstore.store.records.journal import Json

_PACKAGES = (
    *("actstore", "torch", "transformers", "tokenizers", "safetensors", "sentencepiece"),
    *("accelerate", "peft", "flash-attn", "kernels", "triton", "huggingface-hub", "mteb"),
    *("numpy", "pyarrow", "pandas", "xarray", "zarr", "numcodecs", "xxhash"),
)
_VARIABLES = (
    *("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"),
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TOKENIZERS_PARALLELISM"),
    *("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "CUBLAS_WORKSPACE_CONFIG"),
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
    *("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT"),
    *("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"),
    *("RANK", "LOCAL_RANK", "WORLD_SIZE"),
    *("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"),
)
"""No variable that can hold a secret (HF_TOKEN, URLs with passwords) may be added."""
_GIT_SECONDS = 5


def environment() -> dict[str, Json]:
    """This process's environment, without anything secret."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "versions": _versions(),
        "git": _git(Path(__file__).parents[2]),
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def _versions() -> dict[str, Json]:
    """Of the packages that can change a number or a byte, where they are installed."""
    found: dict[str, Json] = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _git(folder: Path) -> dict[str, Json] | None:
    """Revision of the code, and whether tracked files differ from it; None if not a checkout."""
    if not (folder / ".git").exists():
        return None
    revision = _run_git(folder, "rev-parse", "HEAD")
    changed = _run_git(folder, "status", "--porcelain", "--untracked-files=no")
    return None if not revision else {"revision": revision, "dirty": changed != ""}


def _run_git(folder: Path, *command: str) -> str | None:
    """What git prints; None where it is not installed, refuses or takes too long."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *command],
            capture_output=True,
            text=True,
            check=True,
            timeout=_GIT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
