"""Figures show exactly the numbers of their grid."""

from __future__ import annotations

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from actstore.report import Grid, heatmap, layer_curves


def grid_of(n_checkpoints: int, n_layers: int, kind: str = "score", holes: int = 0) -> Grid:
    values = np.random.default_rng(0).uniform(size=(n_checkpoints, n_layers))
    values.flat[:holes] = np.nan
    return Grid(
        title="Some task",
        source="mean pooling",
        model="someone/small",
        label="main score",
        kind=kind,
        checkpoints=tuple(f"step{1000 * i}" for i in range(n_checkpoints)),
        layers=tuple(range(n_layers)),
        values=values,
        about="what it is",
    )


@pytest.mark.parametrize("holes", [0, 5])
def test_a_heatmap_shows_the_grid_with_layers_going_up(holes: int) -> None:
    grid = grid_of(6, 7, holes=holes)
    [axes, bar] = heatmap(grid).axes
    shown = axes.images[0].get_array()
    np.testing.assert_array_equal(np.ma.filled(shown, np.nan), grid.values.T)
    bottom, top = axes.get_ylim()
    assert bottom < top
    assert bar.get_ylabel() == "main score"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list(grid.checkpoints)


def test_the_marks_of_a_heatmap_are_explained_below_it() -> None:
    best = "best layer of a checkpoint"
    assert heatmap(grid_of(6, 7)).get_supxlabel() == f"bold: {best}"
    large = heatmap(grid_of(40, 7, holes=5))
    assert large.get_supxlabel() == f"ring: {best}; hatched: no value (5 of 280)"
    metric = heatmap(grid_of(6, 7, "metric", holes=5))
    assert metric.get_supxlabel() == "hatched: no value (5 of 42)"
    assert heatmap(grid_of(6, 7, "metric")).get_supxlabel() == ""


def test_missing_cells_are_grey_and_hatched() -> None:
    grid = grid_of(4, 4)
    grid.values[:] = np.nan
    grid.values[3, 3] = 0.5
    pixels = _pixels(heatmap(grid))
    grey = (np.abs(pixels - 0xDD) <= 2).all(axis=2).mean()
    hatched = (np.abs(pixels - 0x99) <= 8).all(axis=2).mean()
    assert grey > 0.2
    assert hatched > 0.01


def test_small_heatmaps_show_their_numbers_with_the_best_layer_in_bold() -> None:
    grid = grid_of(5, 6, holes=1)
    texts = heatmap(grid).axes[0].texts
    assert len(texts) == 29
    for text in texts:
        i, j = (int(place) for place in text.get_position())
        assert text.get_text() == f"{grid.values[i, j]:.3f}"
        assert (text.get_fontweight() == "bold") == (j == np.nanargmax(grid.values[i]))


def test_no_layer_of_a_metric_is_called_best() -> None:
    assert {t.get_fontweight() for t in heatmap(grid_of(5, 6, "metric")).axes[0].texts} == {
        "normal"
    }
    assert not heatmap(grid_of(30, 20, "metric")).axes[0].collections


def test_large_heatmaps_ring_the_best_layers_instead_of_writing_numbers() -> None:
    grid = grid_of(40, 25)
    axes = heatmap(grid).axes[0]
    assert not axes.texts
    rings = axes.collections[0].get_offsets()
    assert rings[:, 1].tolist() == grid.values.argmax(axis=1).tolist()


@pytest.mark.parametrize("n", [1, 2, 14, 154])
def test_ticks_stay_few_enough_to_read(n: int) -> None:
    axes = heatmap(grid_of(n, 81)).axes[0]
    assert 1 <= len(axes.get_xticks()) <= 16
    assert 1 <= len(axes.get_yticks()) <= 16


@pytest.mark.parametrize("n", [1, 5, 8, 9, 154])
def test_curves_run_through_the_numbers_of_every_checkpoint(n: int) -> None:
    grid = grid_of(n, 13)
    figure = layer_curves(grid)
    lines = figure.axes[0].lines
    assert [line.get_label() for line in lines] == list(grid.checkpoints)
    for line, values in zip(lines, grid.values, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), grid.layers)
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert bool(figure.legends) == (n <= 8)
    brightness = [sum(line.get_color()[:3]) for line in lines]
    assert brightness == sorted(brightness)


@pytest.mark.parametrize("draw", [heatmap, layer_curves])
@pytest.mark.parametrize("shape", [(1, 1), (1, 13), (20, 2), (154, 81)])
def test_any_shape_of_grid_is_drawn(draw, shape: tuple[int, int]) -> None:  # type: ignore[no-untyped-def]
    pixels = _pixels(draw(grid_of(*shape)))
    assert min(pixels.shape[:2]) > 300
    assert pixels.std() > 10


def test_a_grid_without_any_number_is_drawn() -> None:
    assert _pixels(heatmap(grid_of(3, 4, holes=12))).std() > 10
    assert _pixels(layer_curves(grid_of(3, 4, holes=12))).std() > 10


def test_drawing_leaves_no_figure_and_no_setting_behind() -> None:
    before = dict(plt.rcParams)
    _pixels(heatmap(grid_of(3, 4)))
    _pixels(layer_curves(grid_of(30, 4)))
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == before


def _pixels(figure) -> np.ndarray:  # type: ignore[no-untyped-def]
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"), dtype=np.int16)
