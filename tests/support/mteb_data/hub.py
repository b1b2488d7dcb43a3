"""Small data in place of the hub."""

from __future__ import annotations

import zlib
from typing import Any

import mteb
import pytest
from datasets import Dataset, DatasetDict

from tests.support.dataset_hub import use_no_hub
from tests.support.mteb_data.tasks import MORE_TASKS, TASKS
from tests.support.mteb_data.writing import Configs, Writer


class SmallHub:
    """Answers for the hub, with the data of TASKS and MORE_TASKS."""

    def __init__(self) -> None:
        self.data: dict[str, Configs] = {}
        """By the path of the data set, then by configuration."""
        for name, build in {**TASKS, **MORE_TASKS}.items():
            path = mteb.get_task(name).metadata.dataset["path"]
            self.data.setdefault(path, build(Writer(zlib.crc32(name.encode()))))

    def load_dataset(
        self, path: str, name: str | None = None, *, split: str | None = None, **_: Any
    ) -> DatasetDict | Dataset:
        if path not in self.data:
            raise ConnectionError(f"no network, and no small data for {path}")
        data = self.data[path][name or "default"]
        return data if split is None else data[split]

    def config_names(self, path: str, *_: Any, **__: Any) -> list[str]:
        return [*self.data[path]]

    def split_names(self, path: str, *, config_name: str, **_: Any) -> list[str]:
        return [*self.data[path][config_name]]


def use_small_hub(monkeypatch: pytest.MonkeyPatch) -> SmallHub:
    """Let mteb's own loading read the small data, and nothing else."""
    hub = SmallHub()
    use_no_hub(monkeypatch)
    loaders = "mteb.abstasks.retrieval_dataset_loaders"
    monkeypatch.setattr("mteb.abstasks.abstask.load_dataset", hub.load_dataset)
    monkeypatch.setattr(f"{loaders}.load_dataset", hub.load_dataset)
    monkeypatch.setattr(f"{loaders}.get_dataset_config_names", hub.config_names)
    monkeypatch.setattr(f"{loaders}.get_dataset_split_names", hub.split_names)
    return hub
