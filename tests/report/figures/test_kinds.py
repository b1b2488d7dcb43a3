"""What holds for every kind of figure."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from actstore.errors import InvalidInputError, MissingShardsError, UnknownNameError
from actstore.report.figures import COLUMN, FIGURES, TEXT, Choice, figure_kind, save
from actstore.store import Store, create_store
from tests.report.figures.full_store import full_store, results_store

KINDS = sorted(FIGURES)
SMALLEST = 7.0
"""Points that can be read in print."""


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return full_store(tmp_path_factory.mktemp("full"))


def test_all_sixteen_figures_of_the_papers_have_a_kind() -> None:
    assert len(FIGURES) >= 16
    assert all(kind.about.endswith(".") and kind.needs for kind in FIGURES.values())


@pytest.mark.parametrize("width", [COLUMN, TEXT])
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_drawn_readable_within_its_page_and_without_overlap(
    full: Store, name: str, width: float
) -> None:
    figure = figure_kind(name)(full, Choice(width=width))
    figure.draw_without_rendering()
    assert figure.get_figwidth() == width
    assert any(axes.has_data() for axes in figure.axes)
    texts = [text for text in figure.findobj(Text) if text.get_text().strip()]  # type: ignore[attr-defined]
    assert min(text.get_fontsize() for text in texts) >= SMALLEST  # type: ignore[attr-defined]
    found, page = figure.get_tightbbox(), figure.bbox_inches.padded(0.02)
    assert page.x0 <= found.x0 < found.x1 <= page.x1
    assert page.y0 <= found.y0 < found.y1 <= page.y1
    assert_apart(figure)


@pytest.mark.parametrize("name", KINDS)
def test_an_empty_store_is_answered_with_the_command_that_fills_it(
    tmp_path: Path, name: str
) -> None:
    store = create_store(tmp_path / "empty.zarr")
    with pytest.raises(MissingShardsError, match=f"{name}.*no .*: actstore .*empty.zarr"):
        figure_kind(name)(store)


@pytest.mark.parametrize("suffix", ["pdf", "svg", "png"])
def test_the_same_numbers_give_the_same_bytes_whatever_the_users_settings(
    full: Store, tmp_path: Path, suffix: str
) -> None:
    kind = FIGURES["score-layers"]
    first = save(kind(full), tmp_path / f"first.{suffix}").read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "savefig.dpi": 50}):
        again = save(kind(full), tmp_path / f"again.{suffix}").read_bytes()
    assert first == again
    assert len(first) > 2000


def test_text_in_vector_figures_stays_text(full: Store, tmp_path: Path) -> None:
    figure = FIGURES["score-training"](full)
    svg = save(figure, tmp_path / "a.svg").read_text()
    assert "mean over 4 tasks</text>" in svg
    pdf = save(figure, tmp_path / "a.pdf").read_bytes()
    assert b"/CIDFontType2" in pdf
    assert b"/Type3" not in pdf


def test_a_figure_is_written_as_pdf_png_or_svg_only(full: Store, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="a.jpeg.*a.pdf, a.png, a.svg"):
        save(FIGURES["heatmap"](full), tmp_path / "a.jpeg")


def test_drawing_leaves_no_figure_and_no_setting_behind(full: Store, tmp_path: Path) -> None:
    before = dict(plt.rcParams)
    save(FIGURES["metric-score"](full), tmp_path / "a.png")
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == before


def test_a_kind_that_is_not_there_is_answered_with_near_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"'heat-map'.*'heatmap'.*plot --list"):
        figure_kind("heat-map")


OF_SCORES = [name for name in KINDS if [n.what for n in FIGURES[name].needs] == ["scores"]]


@pytest.mark.parametrize("shape", [(9, 3), (1, 1)])
@pytest.mark.parametrize("name", OF_SCORES)
def test_one_checkpoint_one_layer_and_gaps_are_drawn(
    tmp_path: Path, name: str, shape: tuple[int, int]
) -> None:
    values = np.random.default_rng(0).uniform(size=(*shape, 4))
    values[2:5, 1:, 0] = np.nan
    FIGURES[name](results_store(tmp_path, values)).draw_without_rendering()


def assert_apart(figure: Figure) -> None:
    """Headings and legends do not lie on each other."""
    boxes = {f"title {axes.get_title()}": axes.title.get_window_extent() for axes in figure.axes}
    boxes = {what: box for what, box in boxes.items() if what != "title "}
    if figure.get_suptitle():
        boxes["heading"] = figure._suptitle.get_window_extent()  # type: ignore[attr-defined]
    boxes |= {f"legend {i}": one.get_window_extent() for i, one in enumerate(figure.legends)}
    for (one, box), (other, its) in combinations(boxes.items(), 2):
        assert not Bbox.intersection(box.padded(-1), its.padded(-1)), f"{one} lies on {other}"
