"""docs/store-format.md: what a store holds on disk, written from its declarations."""

from __future__ import annotations

from collections.abc import Sequence

from actstore.store import schema


def schema_page() -> str:
    """`docs/store-format.md`."""
    parts = [_INTRODUCTION.format(version=schema.FORMAT_VERSION)]
    for group in schema.GROUPS:
        parts.append(f"### `{group.path or '/'}`\n\n{group.meaning.capitalize()}.\n")
        if group.arrays:
            rows = [
                (f"`{a.name}`", ", ".join(a.dims), a.dtype, a.unit, _layout(a), a.meaning)
                for a in group.arrays
            ]
            heading = ("array", "dimensions", "dtype", "unit", "on disk", "meaning")
            parts.append(_markdown_table(heading, rows))
    parts.append("## Tables\n")
    for table in schema.TABLES:
        parts.append(f"### `{table.path}`\n\n{table.meaning.capitalize()}.\n")
        if table.columns:
            columns = [(f"`{name}`", kind, meaning) for name, kind, meaning in table.columns]
            parts.append(_markdown_table(("column", "type", "meaning"), columns))
    return "\n".join(parts)


def _layout(array: schema.ArrayDeclaration) -> str:
    if array.sharded:
        return "shards of all layers"
    return "chunks of all layers" if array.all_layers else "chunks"


def _markdown_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


_INTRODUCTION = """\
# Store format, version {version}

This page is generated from `actstore/store/schema.py`: `make docs`.

A store is one [Zarr v3](https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html) hierarchy.
Any Zarr v3 reader opens the arrays; tables are Parquet or JSON lines. All numbers are
little-endian.

- **Sharded arrays** use `sharding_indexed`: a shard holds all layers of a power of two of rows
  (at most 4096 and 256 MiB), an inner chunk one layer of fewer rows (at most 512 KiB), not
  compressed and followed by its crc32c. Chunks lie layer by layer; those without any text are left
  out. Chunk keys are flat: `c.0.<shard>.0`. The fill value is NaN.
- **Text values** (`prompt_entropy`, `curvature`) have one chunk for each pooled shard, all layers
  of its rows, followed by its crc32c; keys are `c.0.<shard>`. It is committed as a shard is: NaN in
  a shard that is done means that the value is undefined for that text.
- **A shard is done when its object and its commit record exist.** The object is written beside
  its final name, flushed, then linked to it; the record is appended and flushed last. A crash
  leaves a shard either done or to do. Readers of actstore raise `MissingShardsError` for a shard
  that is not done, where plain Zarr readers see NaN.
- **Consolidated metadata** stands in each checkpoint's own `zarr.json`, so that
  `xarray.open_zarr("pythia.zarr/models/<model>/<checkpoint>")` needs one read and no actstore.
- **Seals.** A file that is written whole carries the xxh3-128 of `<its key>\n` and its own bytes,
  with zeros where the digest stands: `xxh3-128:<32 hex digits>`, the last that there is in it. In a
  JSON document it is the last field, `seal`; in Parquet it is in the metadata; in an npz it is the
  archive's comment. The attribute `seal` of a group is the xxh3-128 of its other attributes and its
  place, the attribute `nodes` that of its consolidated metadata. So an altered file is told from
  the one that was written, and so is a file that stands in the place of another.
- **Journals** (`.jsonl`) end every line with the field `crc32c`, of the
  folder's path and what stands before it.
- **Rows** are places in the text table. Parts of it start at multiples of 4096, so texts added
  later never touch a shard that is there; rows between two parts hold no text.
- In group names `/` is written `__`: `EleutherAI__pythia-410m`.

## Groups and arrays
"""
