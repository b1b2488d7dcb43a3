"""Numbers of a run over time, for TensorBoard and Weights & Biases, where they are asked for.

Off unless asked for; neither package is imported before. What the store holds never depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from actstore.errors import InvalidInputError, MissingDependencyError


@dataclass(frozen=True)
class Tracking:
    """Where numbers go; nowhere if nothing is given."""

    tensorboard: Path | None = None
    """Folder that gets a sub-folder for each run."""
    wandb: str | None = None
    """Weights & Biases project. Who one is there stands in the environment (`wandb login`)."""


class Tracker(Protocol):
    """Takes the numbers of one run."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add numbers by name (`extract/done`) at a step that never decreases."""


@contextmanager
def tracking(where: Tracking, run: str, settings: Mapping[str, Any]) -> Iterator[Tracker]:
    """A tracker for the block, closed whatever happens in it.

    run: the run's name, another for each process. settings: shown beside the numbers; it must hold
    no secrets. Raises MissingDependencyError where a package is not installed, InvalidInputError
    where Weights & Biases refuses the run.
    """
    opened: list[_Target] = []
    try:
        if where.tensorboard is not None:
            opened.append(_TensorBoard(where.tensorboard / run))
        if where.wandb is not None:
            opened.append(_Wandb(where.wandb, run, settings))
        yield _All(opened)
    finally:
        for target in opened:
            with suppress(Exception):  # what closing fails with must not hide why the block ended
                target.close()


class _Target(Tracker, Protocol):
    def close(self) -> None: ...


class _All:
    def __init__(self, targets: list[_Target]) -> None:
        self._targets = targets

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for target in self._targets:
            with suppress(OSError):  # a full disk or a lost network ends no run
                target.log(step, values)


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        try:
            from tensorboard.summary import Writer
        except ModuleNotFoundError as error:
            raise _missing("tensorboard", "TensorBoard") from error
        self._writer = Writer(str(folder))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, project: str, run: str, settings: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ModuleNotFoundError as error:
            raise _missing("wandb", "Weights & Biases") from error
        try:
            self._run = wandb.init(project=project, name=run, config=dict(settings))
        except wandb.Error as error:
            raise InvalidInputError(
                f"Weights & Biases does not take a run of the project {project!r}: {error} "
                "Run: wandb login, set WANDB_MODE=offline on nodes without a network, or take "
                "`wandb` out of the experiment's `tracking`."
            ) from error

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


def _missing(extra: str, name: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"The experiment asks for {name}, which is not installed here. Run: pip install "
        f"'actstore[{extra}]', or take `{extra}` out of the experiment's `tracking`."
    )
