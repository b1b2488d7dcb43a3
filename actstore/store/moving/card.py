"""The card of a store's dataset repository: what is in it, and how to open it."""

from __future__ import annotations

from actstore import __version__
from actstore.refs import ranges
from actstore.store.status.describe import ModelInfo, StoreInfo

UNKNOWN_LICENCE = "unknown"
_SHOWN = 12
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def dataset_card(info: StoreInfo, repo: str, licence: str, n_bytes: int) -> str:
    """README.md of a repository. licence: an identifier of the hub, such as `cc-by-4.0`."""
    parts = [
        _header(repo, licence),
        f"# {repo.rpartition('/')[2]}",
        f"Representations of every layer, in {_size(n_bytes)}: an "
        "[actstore](https://pypi.org/project/actstore/) store (Zarr v3).",
        _opening(info, repo),
        "## What is in it",
        _contents(info),
        *[_model(model) for model in info.models],
        _licence(licence),
        f"Written by actstore {__version__}.",
    ]
    return "\n\n".join(parts) + "\n"


def _header(repo: str, licence: str) -> str:
    name = repo.rpartition("/")[2]
    lines = [f"license: {licence}", f"pretty_name: {name}", "viewer: false"]
    tags = ["tags:", "- actstore", "- representations", "- zarr"]
    return "\n".join(["---", *lines, *tags, "---"])


def _opening(info: StoreInfo, repo: str) -> str:
    model = info.models[0].model if info.models else "MODEL"
    return f"""```python
# pip install "actstore[remote]"
import xarray as xr

states = xr.open_dataset("hf://datasets/{repo}", engine="actstore", model="{model}")
```

Or bring it here: `actstore pull {repo} ./{repo.rpartition("/")[2]}.zarr`"""


def _contents(info: StoreInfo) -> str:
    lines = [
        f"- {info.n_texts:,} texts ({_size(info.text_bytes)})",
        f"- tasks: {_some(info.tasks)}",
        f"- suites: {_some(info.suites)}",
        f"- {info.n_scores:,} scores, {info.n_metrics:,} metric values",
    ]
    return "\n".join(lines)


def _model(model: ModelInfo) -> str:
    lines = [
        f"### {model.model}",
        "",
        "| checkpoint | layers | of each text | token sample | size |",
    ]
    lines.append("| --- | --- | --- | --- | --- |")
    for one in model.checkpoints:
        cells = (
            one.checkpoint,
            f"{ranges(one.layers)} ({one.hidden_size} values in {one.dtype})",
            ", ".join([*one.poolings, *one.text_values]),
            ", ".join(one.token_samples) or "–",
            _size(one.n_bytes),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _licence(licence: str) -> str:
    if licence == UNKNOWN_LICENCE:
        return (
            "## Licence\n\nNot stated. The texts are those of their data sets, under their "
            "licences; name one with `actstore push --license`."
        )
    return f"## Licence\n\n{licence}. The texts are those of their data sets."


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more or "none"


def _size(n_bytes: int) -> str:
    size, unit = float(n_bytes), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{n_bytes} bytes"
