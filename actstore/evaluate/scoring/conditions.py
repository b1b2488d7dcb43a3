"""What a score depends on besides data and states: threads, devices, versions.

mteb's scores change with the number of BLAS threads, with a visible GPU and between versions of
the libraries. All of it is fixed here, and recorded with every score.
"""

from __future__ import annotations

import functools
import logging
import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version

from actstore.errors import InvalidInputError
from actstore.store import Json

SCORING = ("mteb", "datasets", "scikit-learn", "numpy", "scipy", "torch", "pytrec-eval-terrier")
"""The packages that compute a score."""
_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "TQDM_DISABLE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Conditions:
    """How evaluators run."""

    threads: int = 1
    """BLAS threads of a process. Part of what a score is: other numbers of threads add in another
    order, and unconverged classifiers turn the last bits into other predictions."""
    upstream: bool = False
    """Run mteb's own code throughout, without the exact fast paths: the same scores, slower."""

    def to_json(self) -> dict[str, Json]:
        """As it is recorded with every score."""
        place: dict[str, Json] = {"python": platform.python_version(), "machine": _machine()}
        return {"threads": self.threads, "upstream": self.upstream, "versions": versions(), **place}


@functools.cache
def versions() -> dict[str, Json]:
    """The versions of what computes a score."""
    return {name: version(name) for name in SCORING}


def process_environment(conditions: Conditions) -> dict[str, str]:
    """What a process that scores must find before it imports numpy."""
    return {**_ENVIRONMENT, **dict.fromkeys(_THREADS, str(conditions.threads))}


@contextmanager
def new_process_environment(conditions: Conditions) -> Iterator[None]:
    """Sets what a new process must find before it imports numpy, and puts it back."""
    wanted = process_environment(conditions)
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def scoring_conditions(conditions: Conditions) -> Iterator[None]:
    """Scores what is inside under these conditions, in whatever process this is.

    Raises InvalidInputError where torch sees a GPU: mteb would compute similarities on it, to other
    last bits.
    """
    import torch
    from threadpoolctl import threadpool_limits

    if torch.cuda.is_available():
        raise InvalidInputError(
            "mteb computes on a GPU where it sees one, which changes scores. Start the processes "
            "that evaluate with CUDA_VISIBLE_DEVICES= (empty)."
        )
    threads = torch.get_num_threads()
    torch.set_num_threads(conditions.threads)
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with threadpool_limits(conditions.threads), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        torch.set_num_threads(threads)


@functools.cache
def _machine() -> str:
    """Architecture and BLAS kernels: other ones round differently."""
    from threadpoolctl import threadpool_info

    kernels = {one.get("architecture") for one in threadpool_info()} - {None}
    return " ".join([platform.machine(), *sorted(map(str, kernels))])
