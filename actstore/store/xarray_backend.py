"""xarray's way into a store: `xr.open_dataset(path, engine="actstore")`."""

from __future__ import annotations

import os
from collections.abc import Iterable

import xarray as xr
from xarray.backends import BackendEntrypoint

from actstore.store.store import open_store


class ActstoreBackendEntrypoint(BackendEntrypoint):
    """`xr.open_dataset("pythia.zarr", engine="actstore", model="EleutherAI/pythia-410m")`."""

    description = "Open an actstore store: one lazy dataset over all checkpoints of a model"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "model")

    def open_dataset(  # type: ignore[override]
        self,
        filename_or_obj: str | os.PathLike[str],
        *,
        drop_variables: str | Iterable[str] | None = None,
        model: str | None = None,
    ) -> xr.Dataset:
        """The model may be left out where the store holds only one."""
        store = open_store(filename_or_obj)
        dataset = store.dataset(model or store.only_model())
        dropped = [drop_variables] if isinstance(drop_variables, str) else drop_variables or []
        return dataset.drop_vars(list(dropped), errors="ignore")
