"""States in two dimensions: texts or tokens of one layer as points."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from actstore.report.figures.data import Data
from actstore.report.figures.needs import POOLED, TOKENS
from actstore.report.figures.panels import panels
from actstore.report.figures.registry import kind
from actstore.report.figures.style import COLOURS, MARKERS, QUIET, training_colours
from actstore.store import CheckpointGroup

_POINTS = 1000
_LAYERS = 4


@kind(
    "text-map",
    "Texts of some layers in two dimensions (principal components, or t-SNE begun with the layer "
    "before), coloured by the type of their first task.",
    POOLED,
)
def text_map(data: Data) -> Figure:
    group = _group(data)
    pooling = data.choice.pooling or group.poolings()[0]
    rows = data.store.source_rows()
    if len(rows) > _POINTS:
        rows = np.sort(np.random.default_rng(data.choice.seed).choice(rows, _POINTS, replace=False))
    types = _types(data, rows)
    names = sorted(set(types) - {""})[: len(COLOURS)]
    layers = _some(data, group)
    figure, axes = panels(
        len(layers), data.choice.width, share_x=False, ratio=1, head=0.3 if names else 0
    )

    def draw(axes: Axes, points: NDArray[np.float64]) -> None:
        rest = ~np.isin(types, names)
        axes.scatter(points[rest, 0], points[rest, 1], s=4, color=QUIET, linewidths=0)
        for i, name in enumerate(names):
            x, y = points[types == name].T
            look = COLOURS[i], MARKERS[i]
            axes.scatter(x, y, s=5, c=look[0], marker=look[1], linewidths=0, alpha=0.8, label=name)

    _maps(data, axes, layers, lambda layer: group.read(pooling, layer, rows), draw)
    if names:
        handles, labels = axes[0].get_legend_handles_labels()
        columns = max(1, int(data.choice.width / 1.1))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, markerscale=2)
    _say(figure, data, f"{pooling} pooling of {len(rows):,} texts at {group.checkpoint}")
    return figure


@kind(
    "token-map",
    "Tokens of some layers in two dimensions, coloured by their position in the text.",
    TOKENS,
)
def token_map(data: Data) -> Figure:
    group = _group(data)
    sample = group.token_sample(group.token_samples()[0])
    shown = np.arange(len(sample.position))
    if len(shown) > _POINTS:
        rng = np.random.default_rng(data.choice.seed)
        shown = np.sort(rng.choice(shown, _POINTS, replace=False))
    layers = _some(data, group)
    figure, axes = panels(len(layers), data.choice.width, share_x=False, ratio=1)
    shade = ScalarMappable(Normalize(0, max(1, sample.position[shown].max())), training_colours())

    def draw(axes: Axes, points: NDArray[np.float64]) -> None:
        colours = shade.to_rgba(sample.position[shown].astype(float))
        axes.scatter(points[:, 0], points[:, 1], s=4, c=colours, linewidths=0)

    def read(layer: int) -> NDArray[np.float32]:
        return sample.states(layer, 0, len(sample.position))[shown]

    _maps(data, axes, layers, read, draw)
    bar = figure.colorbar(shade, ax=axes, label="position in the text", pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    _say(figure, data, f"{len(shown):,} tokens at {group.checkpoint}")
    return figure


def _group(data: Data) -> CheckpointGroup:
    """The last of the chosen checkpoints of the one model."""
    chosen = [m for m in data.store.models() if m in (data.choice.models or (m,))]
    model = data.one_model(chosen)
    names = data.store.select_checkpoints(model, data.choice.checkpoints)
    return data.store.checkpoint(model, names[-1])


def _some(data: Data, group: CheckpointGroup) -> list[int]:
    """The chosen layers; else four, from the first to the last."""
    if data.choice.layers != "all":
        return data.layers(group.layers)
    places = np.linspace(0, len(group.layers) - 1, min(_LAYERS, len(group.layers)))
    return [group.layers[round(place)] for place in places]


def _maps(
    data: Data,
    axes: Sequence[Axes],
    layers: Sequence[int],
    read: Callable[[int], NDArray[np.float32]],
    draw: Callable[[Axes, NDArray[np.float64]], None],
) -> None:
    """A panel a layer, each turned as the one before lies."""
    before: NDArray[np.float64] | None = None
    for one, layer in zip(axes, layers, strict=True):
        states = np.nan_to_num(read(layer).astype(np.float64))
        points, shares = _components(states)
        if before is not None:
            points *= _signs(points, before)
        if data.choice.tsne:
            points = _tsne(states, points if before is None else before, data.choice.seed)
        draw(one, points)
        told = "" if data.choice.tsne else f": {100 * shares.sum():.0f} %"
        one.set_title(f"layer {layer}{told}")
        one.set(xticks=[], yticks=[])
        one.spines[:].set_visible(True)
        one.spines[:].set_color(QUIET)
        before = points


def _components(states: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The first two principal components (n, 2), and which shares of the variance they have."""
    centred = states - states.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(states), 2))
    n = min(2, len(sizes))
    points[:, :n] = left[:, :n] * sizes[:n]
    return points, sizes[:2] ** 2 / max(float((sizes**2).sum()), np.finfo(float).tiny)


def _signs(points: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    """Which way each axis must point to lie as before: components have no sign of their own."""
    return np.where((points * before).sum(axis=0) < 0, -1.0, 1.0)


def _tsne(
    states: NDArray[np.float64], begin: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """t-SNE begun at given points, in the width that scikit-learn's own beginning has."""
    from sklearn.manifold import TSNE

    start = 1e-4 * begin / max(float(begin[:, 0].std()), np.finfo(float).tiny)
    perplexity = min(30.0, (len(states) - 1) / 3)
    found = TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(states)
    return np.asarray(found, np.float64)


def _types(data: Data, rows: NDArray[np.int64]) -> NDArray[np.str_]:
    """The type of the first task that uses each text; empty for one of none."""
    types = np.full(len(rows), "", dtype="U64")
    for name in data.store.tasks():
        task = data.store.task(name)
        free = (types == "") & np.isin(rows, task.rows())
        types[free] = str(task.manifest["type"])
    return types


def _say(figure: Figure, data: Data, what: str) -> None:
    how = "t-SNE" if data.choice.tsne else "two principal components"
    figure.suptitle(f"{what}\n{how}" + ("" if data.choice.tsne else ", with their variance"))
