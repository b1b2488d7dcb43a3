from __future__ import annotations

from pathlib import Path

import zarr

from actstore.store.schema import GROUPS, POOLED
from actstore.store.schema_page import schema_page
from tests.support.states import known_store

DOCS = Path(__file__).parents[2] / "docs"


def test_the_format_page_is_generated_from_the_declarations() -> None:
    assert (DOCS / "store-format.md").read_text() == schema_page()


def test_what_is_on_disk_is_what_is_declared(tmp_path: Path) -> None:
    store, group = known_store(tmp_path / "s.zarr")
    declared = {g.path: {a.name: a for a in g.arrays} for g in GROUPS}
    checkpoint = zarr.open_group(store.path / group.prefix, mode="r")
    names = {"mean_pool": POOLED.name, "layer": "layer"}
    assert {name for name, _ in checkpoint.arrays()} == set(names)
    for name, array in checkpoint.arrays():
        declaration = declared["models/{model}/{checkpoint}"][names[name]]
        assert array.metadata.dimension_names == declaration.dims
        assert str(array.dtype) in declaration.dtype
        assert (array.shards is not None) == declaration.sharded
    for name, declaration in declared["models/{model}"].items():
        array = zarr.open_array(store.path / group.model_prefix / name, mode="r")
        assert (str(array.dtype), array.metadata.dimension_names) == (
            declaration.dtype,
            declaration.dims,
        )
