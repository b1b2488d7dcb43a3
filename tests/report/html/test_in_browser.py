"""The report as a reader has it: opened from a file, steered from the keyboard, in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect
from scipy.stats import spearmanr

from actstore.report import write_report
from actstore.store import Store, create_store
from tests.report.scored_store import MODEL, metric, score, scored_store
from tests.support.browser.chromium import Opened, browsing, opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as one:
        yield one


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return scored_store(tmp_path_factory.mktemp("scored"))


@pytest.fixture(scope="module")
def written(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(store, tmp_path_factory.mktemp("out") / "report.html")[0]


@pytest.fixture
def report(browser: Browser, written: Path) -> Iterator[Opened]:
    with opened(browser, written) as one:
        yield one


def _choice(report: Opened, name: str) -> Locator:
    """The list that goes by a name, as screen readers find it."""
    return report.page.get_by_role("combobox", name=name, exact=True)


def test_it_opens_without_a_request_or_an_error(report: Opened, written: Path) -> None:
    assert report.requests == [written.as_uri()]
    assert report.problems == []
    for chart in ("heatmap", "curves", "scatter"):
        assert report.page.locator(f"#{chart} svg.marks").count() == 1


def test_the_map_has_a_cell_for_every_arm_and_a_dot_for_every_checkpoint(report: Opened) -> None:
    """6 checkpoints x 7 layers, one of which was not scored."""
    cells = report.page.locator("#heatmap .mark-rect.role-mark path")
    dashed = report.page.locator("#heatmap .mark-rect.role-mark path[stroke-dasharray]")
    outline = 1
    assert cells.count() == 6 * 7 + outline
    assert dashed.count() == 1
    assert report.page.locator("#heatmap .mark-symbol.role-mark path").count() == 6


def test_the_best_layers_are_the_stores_own(report: Opened, store: Store) -> None:
    best = store.best_layers()
    shown = [[row[0], *map(float, row[1:])] for row in report.cells("best")]
    columns = ["checkpoint", "best_layer", "mean", "next_layer", "margin", "last_layer", "gain"]
    for row, expected in zip(shown, best[columns].to_numpy().tolist(), strict=True):
        assert row[0] == expected[0]
        assert row[1:] == pytest.approx(expected[1:], rel=6e-4, abs=1e-6)


def test_the_numbers_of_the_map_stand_in_a_table(report: Opened, store: Store) -> None:
    report.page.get_by_text("The numbers of the map").focus()
    report.page.keyboard.press("Enter")
    means = store.suite_scores().set_index(["checkpoint", "layer"])["mean"]
    rows = report.cells("values")
    assert [row[0] for row in rows] == [f"step{n}" for n in (0, 20, 40, 80, 160, 320)]
    for row in rows:
        for layer, text in enumerate(row[1:]):
            if (row[0], layer) == ("step40", 3):
                assert text == "–"
            else:
                assert float(text) == pytest.approx(means[row[0], layer], rel=6e-4)
    assert report.page.locator("#values").is_visible()


def test_another_quantity_is_chosen_by_keyboard_and_everything_follows(report: Opened) -> None:
    before = {name: report.drawing(name) for name in ("heatmap", "curves", "scatter")}
    table = report.cells("best")
    _choice(report, "Quantity").focus()
    report.page.keyboard.type("effective")
    expect(report.page.locator("#heatmap")).to_contain_text("effective_rank (mean_pool) [dims]")
    assert report.drawing("heatmap") != before["heatmap"]
    assert report.drawing("curves") != before["curves"]
    assert report.drawing("scatter") == before["scatter"]
    assert report.cells("best") != table
    assert report.text("#said").startswith("effective_rank (mean_pool), step320: highest at layer")
    assert "Somebody 2020" in report.text("#about")


def test_the_slider_moves_by_keyboard_and_says_the_checkpoint(report: Opened) -> None:
    drawn = report.drawing("curves")
    slider = report.page.get_by_role("slider")
    slider.focus()
    report.page.keyboard.press("ArrowLeft")
    expect(report.page.locator("#checkpoint-name")).to_have_text("step160")
    assert slider.get_attribute("aria-valuetext") == "step160"
    assert ", step160: highest at layer" in report.text("#said")
    assert report.drawing("curves") != drawn
    report.page.keyboard.press("Home")
    expect(report.page.locator("#checkpoint-name")).to_have_text("step0")


def test_a_checkpoint_is_compared_with_by_keyboard(report: Opened) -> None:
    dashed = report.page.locator('#curves path[stroke="#d55e00"][stroke-dasharray]')
    assert dashed.count() == 0
    _choice(report, "Compared with").focus()
    report.page.keyboard.press("ArrowDown")
    expect(dashed).to_have_count(1)


def test_a_click_on_the_map_chooses_the_checkpoint(report: Opened) -> None:
    report.page.locator("#heatmap .mark-rect.role-mark path").nth(3).click(force=True)
    expect(report.page.locator("#checkpoint-name")).to_have_text("step0")


def test_all_inputs_are_reached_with_tab_in_their_order(report: Opened) -> None:
    reached = []
    for _ in range(40):
        report.page.keyboard.press("Tab")
        reached.append(report.page.evaluate("document.activeElement.id"))
    inputs = [name for name in reached if name]
    assert inputs[:6] == ["quantity", "checkpoint", "compared", "across", "up", "over"]


def test_every_input_and_chart_has_a_name_for_screen_readers(report: Opened) -> None:
    for name in ("Quantity", "Compared with", "Across", "Up", "Over"):
        assert _choice(report, name).count() == 1
    assert report.page.get_by_role("slider", name="Checkpoint:").count() == 1
    for about in (
        "Heatmap of the chosen quantity",
        "The chosen quantity over",
        "One quantity against another, a point",
    ):
        assert report.page.get_by_label(about).count() == 1


def test_the_correlation_is_spearmans_with_ties(browser: Browser, tmp_path: Path) -> None:
    """Worked out by scipy, over all checkpoints and over the one that is chosen."""
    store = create_store(tmp_path / "some.zarr")
    ours = [[0.1, 0.2, 0.2, 0.5], [0.3, 0.3, 0.9, 0.1]]
    theirs = [[3.0, 1.0, 4.0, 4.0], [4.0, 2.0, 2.0, 7.0]]
    names = ["step1", "step2"]
    store.record_scores(
        score(name, layer, "Find", value)
        for name, row in zip(names, ours, strict=True)
        for layer, value in enumerate(row)
    )
    store.record_metrics(
        metric(name, layer, "curvature", value)
        for name, row in zip(names, theirs, strict=True)
        for layer, value in enumerate(row)
    )
    with opened(browser, write_report(store, tmp_path)[0]) as report:
        over_all = spearmanr([*ours[0], *ours[1]], [*theirs[0], *theirs[1]]).statistic
        shown = report.page.locator("#scatter")
        expect(shown).to_contain_text(f"Spearman {over_all:.3f} (n = 8)".replace("-", "−"))
        _choice(report, "Over").select_option("the chosen checkpoint")
        of_one = spearmanr(ours[1], theirs[1]).statistic
        expect(shown).to_contain_text(f"Spearman {of_one:.3f} (n = 4)".replace("-", "−"))


def test_a_phone_shows_it_without_scrolling_sideways(browser: Browser, written: Path) -> None:
    with opened(browser, written, width=360) as report:
        assert report.page.evaluate("document.documentElement.scrollWidth") == 360
        for chart in ("heatmap", "curves", "scatter"):
            box = report.page.locator(f"#{chart} svg.marks").bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert 250 < box["width"] <= 360


def test_charts_fill_what_room_there_is(report: Opened) -> None:
    """Also when the window is made narrower."""
    before = report.page.locator("#scatter svg.marks").bounding_box()
    report.page.set_viewport_size({"width": 700, "height": 800})
    report.page.wait_for_timeout(500)
    after = report.page.locator("#scatter svg.marks").bounding_box()
    assert before is not None
    assert after is not None
    assert before["width"] > 1000
    assert 600 < after["width"] < 700


def test_light_and_dark_are_legible(browser: Browser, written: Path) -> None:
    """Ink and paper differ by 7 to 1 at least, as WCAG's highest level asks, also in the charts."""
    papers = []
    for scheme in ("light", "dark"):
        with opened(browser, written, scheme=scheme) as report:
            paper = _luminance(report, "body", "backgroundColor")
            papers.append(paper)
            for ink, of in (("body", "color"), ("#heatmap .role-axis-label text", "fill")):
                pair = sorted([_luminance(report, ink, of), paper])
                assert (pair[1] + 0.05) / (pair[0] + 0.05) > 7
    assert papers[0] > 0.9
    assert papers[1] < 0.05


def _luminance(report: Opened, selector: str, colour: str) -> float:
    """Relative luminance by WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    place = report.page.locator(selector).first
    told = place.evaluate("(element, name) => getComputedStyle(element)[name]", colour)
    parts = [int(part) / 255 for part in told.strip("rgba()").split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


HOSTILE = (
    "</script><script>window.hurt=1</script>",
    "<img src=x onerror=window.hurt=1>",
    "\"' onfocus='window.hurt=1' autofocus x=\"",
    "<!--<script>",
    "{{ 7 * 7 }} & ${7 * 7} `quoted`",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_from_a_store_are_shown_and_never_run(
    browser: Browser, tmp_path: Path, name: str
) -> None:
    store = create_store(tmp_path / "some.zarr")
    scores = [score(name, i, name, 0.1 * i, model=f"a{name}", pooling=name) for i in range(4)]
    store.record_scores(scores)
    store.record_metrics([metric(name, 1, name, 0.5, model=f"a{name}", unit=name)])
    with opened(browser, write_report(store, tmp_path)[0]) as report:
        assert report.text("h1") == f"a{name}: representations by checkpoint and layer"
        assert name in report.page.locator("#quantity option").all_text_contents()
        assert report.text("#checkpoint-name") == name
        assert report.cells("best")[0][0] == name
        report.page.locator("#heatmap .mark-symbol.role-mark path").first.hover(force=True)
        expect(report.page.locator("#vg-tooltip-element")).to_contain_text(name)
        assert report.page.evaluate("window.hurt") is None
        assert report.problems == []


def test_the_pages_policy_runs_nothing_else(report: Opened, written: Path) -> None:
    """No script that is put into the page, no text as code, nothing from elsewhere."""
    report.page.evaluate(
        """() => {
        const script = document.createElement('script');
        script.textContent = 'window.hurt = 1';
        document.body.append(script);
        document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.hurt = 1">');
        document.body.insertAdjacentHTML('beforeend', '<img src="http://127.0.0.1:9/x.png">');
        }"""
    )
    # playwright's own evaluation may use eval: a handler of the page is asked instead.
    told = report.page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')")
    report.page.wait_for_timeout(200)
    assert told == "refused"
    assert report.page.evaluate("window.hurt") is None
    assert report.problems
    assert all("Content Security Policy" in one or "Fetch API" in one for one in report.problems)


def test_several_models_and_poolings_are_chosen_between(browser: Browser, tmp_path: Path) -> None:
    """Each with its own checkpoints; what one lacks cannot be chosen for it."""
    store = scored_store(tmp_path, n_checkpoints=3)
    more = [
        score(name, layer, "Find", 0.1 * layer, model="other/model", pooling="last")
        for name in ("step1", "step2", "step4", "step8")
        for layer in range(3)
    ]
    store.record_scores(more)
    with opened(browser, write_report(store, tmp_path)[0]) as report:
        choice = _choice(report, "Model and states")
        options = choice.locator("option").all_text_contents()
        assert options == ["other/model: last", f"{MODEL}: mean"]
        assert len(report.cells("best")) == 4
        lacking = report.page.locator("#quantity option:disabled").all_text_contents()
        assert "Modules" in lacking
        assert "Find" not in lacking
        choice.focus()
        report.page.keyboard.press("ArrowDown")
        expect(report.page.locator("#checkpoint-name")).to_have_text("step40")
        assert len(report.cells("best")) == 3
        assert report.page.locator("#quantity option:disabled").count() == 0
        assert report.page.get_by_role("slider").get_attribute("max") == "2"
        _choice(report, "Quantity").select_option("Find")
        assert report.page.locator("#heatmap .mark-symbol.role-mark path").count() == 3
        assert report.problems == []


def test_metrics_alone_make_a_report(browser: Browser, tmp_path: Path) -> None:
    store = create_store(tmp_path / "some.zarr")
    store.record_metrics([metric("step0", layer, "curvature", 0.1 * layer) for layer in range(3)])
    with opened(browser, write_report(store, tmp_path)[0]) as report:
        assert report.text("#said").startswith("curvature (mean_pool), step0: highest at layer 2")
        assert "Nothing is scored" not in report.text("main")
        assert report.problems == []


def test_scores_alone_make_a_report(browser: Browser, tmp_path: Path) -> None:
    store = create_store(tmp_path / "some.zarr")
    store.record_scores([score("step0", 0, "Find", 0.3)])
    with opened(browser, write_report(store, tmp_path)[0]) as report:
        assert report.cells("best") == [["step0", "0", "0.3", "–", "–", "0", "0"]]
        assert report.problems == []
