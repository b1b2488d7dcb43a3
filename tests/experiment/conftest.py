"""A tiny model, a small suite and a file of texts, and experiments on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.mteb_data import SmallHub, use_small_hub
from tests.support.tiny_models import save_tiny_model, tiny_texts

CHECKPOINTS = ("step0", "step10", "step20")
TASKS = ("STSBenchmark", "SICK-R")

EXPERIMENT = """\
name: tiny
store: tiny.zarr
model: ./neox
checkpoints: [step0, step10, step20]
layers: 1-2
tasks: [STSBenchmark, SICK-R]
poolings: [mean, mean_normed]
extract: {devices: cpu, threads: 1}
metrics: {metrics: [effective_rank, linear_cka]}
"""

Write = Callable[..., Path]


@pytest.fixture(scope="package")
def small_hub() -> Iterator[SmallHub]:
    with pytest.MonkeyPatch.context() as patch:
        yield use_small_hub(patch)


@pytest.fixture(scope="package")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny GPT-NeoX `neox` of three checkpoints, and texts."""
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny_model(folder / "neox", "gpt_neox", checkpoints=CHECKPOINTS)
    (folder / "texts.txt").write_text("\n".join(tiny_texts(60)), "utf-8")
    return folder


@pytest.fixture
def write(tiny: Path, tmp_path: Path) -> Write:
    """Writes an experiment file beside the model; `text` replaces the usual one."""
    (tmp_path / "neox").symlink_to(tiny / "neox")
    (tmp_path / "texts.txt").symlink_to(tiny / "texts.txt")

    def write(text: str = EXPERIMENT, name: str = "tiny.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return write
