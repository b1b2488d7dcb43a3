"""Figures show the numbers that are in the store, and say which those are."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from actstore.errors import InvalidInputError, MissingShardsError, UnknownNameError
from actstore.report.figures import FIGURES, Choice, Data, texts_by_value
from actstore.store import Store, create_store
from tests.metrics.small_store import MODEL
from tests.report.figures.full_store import full_store, results_store
from tests.report.scored_store import TASKS, metric, score, scored_store


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return full_store(tmp_path_factory.mktemp("full"))


def test_tasks_are_thin_lines_and_their_mean_a_bold_one_with_a_gap_where_a_task_has_none(
    tmp_path: Path,
) -> None:
    values = np.random.default_rng(0).uniform(size=(2, 5, 2))
    values[1, 3, 0] = np.nan
    store = results_store(tmp_path, values, tasks=("Similar", "Alike"))
    (axes,) = FIGURES["score-layers"](store).axes
    alike, similar, mean = (line.get_ydata() for line in axes.lines[:3])
    np.testing.assert_array_equal(alike, values[1, :, 1])
    np.testing.assert_array_equal(similar, values[1, :, 0])
    np.testing.assert_allclose(mean, values[1].mean(axis=1))
    assert np.isnan(mean[3])
    assert axes.lines[2].get_linewidth() > 2 * axes.lines[0].get_linewidth()
    assert axes.get_title() == "STS (2)"


def test_a_heatmap_hatches_what_is_missing_and_rings_the_best_layers(tmp_path: Path) -> None:
    store = scored_store(tmp_path)
    axes = FIGURES["heatmap"](store).axes[0]
    shown = axes.images[0].get_array()
    means = store.score_array().squeeze().mean("task", skipna=False)
    np.testing.assert_allclose(shown.filled(np.nan), means.transpose("layer", "checkpoint"))
    assert np.argwhere(shown.mask).tolist() == [[3, 2]]
    assert axes.patch.get_hatch()
    rings = [(int(line.get_xdata()[0]), int(line.get_ydata()[0])) for line in axes.lines]
    assert rings == list(enumerate(means.argmax("layer").values.tolist()))


def test_win_rate_counts_ties_half_and_the_baseline_against_itself_so_too(tmp_path: Path) -> None:
    values = np.array([[[1, 0, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]]], float)
    figure = FIGURES["win-rate"](results_store(tmp_path, values), Choice(baseline="step1/1"))
    assert figure.axes[0].images[0].get_array().ravel().tolist() == [0.5, 0.5]
    higher = values.copy()
    higher[0, 0] = [1, 1, 1, 0]
    folder = tmp_path / "higher"
    folder.mkdir()
    figure = FIGURES["win-rate"](results_store(folder, higher))
    assert figure.axes[0].images[0].get_array().ravel().tolist() == [0.75, 0.5]


def test_coverage_tells_shares_of_tasks_and_of_layers(tmp_path: Path) -> None:
    by_arm, by_task, _ = FIGURES["coverage"](scored_store(tmp_path)).axes
    assert by_arm.images[0].get_array()[3, 2] == 0
    assert np.asarray(by_task.images[0].get_array())[:, 2].tolist() == [6 / 7] * len(TASKS)


def test_curves_are_coloured_by_step_and_a_checkpoint_without_one_is_dashed(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    names = ("step1", "step64", "step1000", "main")
    store.record_scores(
        [score(name, layer, "Find", i + layer) for i, name in enumerate(names) for layer in (0, 1)]
    )
    axes, bar = FIGURES["score-training"](store).axes
    brightness = [sum(line.get_color()[:3]) for line in axes.lines[:3]]
    assert brightness == sorted(brightness)
    assert axes.lines[3].get_linestyle() == "--"
    assert [label.get_text() for label in bar.get_yticklabels()] == ["1", "64", "1k"]
    assert "main" in bar.get_ylabel()


def test_correlations_are_those_of_scipy(tmp_path: Path) -> None:
    store = scored_store(tmp_path)
    choice = Choice(metrics=("curvature",))
    means = store.score_array().squeeze().mean("task", skipna=False).to_series().dropna()
    values = store.metric_table().query("metric == 'curvature'").set_index(["checkpoint", "layer"])
    both = values.loc[means.index, "value"]
    bars = [
        one.patches[0].get_width()
        for one in FIGURES["correlations"](store, choice).axes[0].containers
    ]
    expected = [
        stats.spearmanr(both, means).statistic,
        stats.kendalltau(both, means).statistic,
        stats.pearsonr(both, means).statistic,
    ]
    np.testing.assert_allclose(bars[:3], expected)
    title = FIGURES["metric-score"](store, choice).axes[0].get_title()
    assert title == f"ρ = {expected[0]:.2f}, n = {len(means)}"


def test_seconds_of_all_tasks_are_the_sum_of_their_entries(tmp_path: Path) -> None:
    axes = FIGURES["evaluation-seconds"](scored_store(tmp_path)).axes[0]
    of_all = next(line for line in axes.lines if line.get_label() == "all")
    assert of_all.get_ydata().tolist() == [len(TASKS)] * 7


def test_text_lengths_and_histograms_hold_every_text_once(full: Store) -> None:
    values = full.metric_values(MODEL, "prompt_entropy").isel(checkpoint=-1, layer=0)
    points = FIGURES["text-lengths"](full).axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(np.sort(points[:, 1].compressed()), np.sort(values.dropna("text")))
    found = texts_by_value(full, values)
    assert found["value"].is_monotonic_increasing
    assert found["text"].tolist() == full.read_texts(found["row"].to_numpy())


def test_models_of_other_depths_are_set_beside_each_other_by_depth(tmp_path: Path) -> None:
    store = results_store(tmp_path, np.random.default_rng(0).uniform(size=(1, 5, 4)))
    store.record_scores(
        [score("main", layer, task, 0.5, model="a/b") for layer in range(3) for task in TASKS]
    )
    figure = FIGURES["score-models"](store)
    short, long = figure.axes[0].lines
    assert short.get_xdata().tolist() == [0, 50, 100]
    assert long.get_xdata().tolist() == [0, 25, 50, 75, 100]
    with pytest.raises(InvalidInputError, match="a/b, someone/small.*--model"):
        FIGURES["heatmap"](store)


def test_maps_of_neighbouring_layers_lie_the_same_way(full: Store) -> None:
    panels = FIGURES["text-map"](full, Choice(seed=1)).axes
    points = [axes.collections[0].get_offsets() for axes in panels]
    for before, after in pairwise(points):
        assert ((before * after).sum(axis=0) >= 0).all()


def test_tsne_draws_other_points_than_components_and_the_same_each_time(full: Store) -> None:
    components, first, again = (
        FIGURES["text-map"](full, Choice(tsne=tsne, layers="1"))
        .axes[0]
        .collections[0]
        .get_offsets()
        for tsne in (False, True, True)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(components, first)


def test_several_poolings_must_be_chosen_from(tmp_path: Path) -> None:
    store = scored_store(tmp_path)
    store.record_scores([score("step0", 0, "Find", 0.5, pooling="last")])
    with pytest.raises(InvalidInputError, match="several poolings: last, mean.*--pooling"):
        FIGURES["heatmap"](store)
    assert FIGURES["heatmap"](store, Choice(pooling="mean")).axes[0].images


def test_a_metric_from_several_sources_must_be_chosen_from(tmp_path: Path) -> None:
    store = scored_store(tmp_path)
    store.record_metrics([replace(metric("step0", 0, "curvature", 1.0), source="last_pool")])
    choice = Choice(metrics=("curvature",))
    with pytest.raises(InvalidInputError, match="curvature from several sources: last_pool, mean"):
        FIGURES["metric-training"](store, choice)
    FIGURES["metric-training"](store, replace(choice, sources=("mean_pool",)))
    FIGURES["metric-training"](store, replace(choice, pooling="mean"))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice(tasks=("Finds",)), "scored task 'Finds'.*'Find'"),
        (Choice(checkpoints=("step7",)), "step7"),
        (Choice(models=("someone/smal",)), "someone/small"),
        (Choice(pooling="max"), "pooling 'max'"),
        (Choice(suite="other"), "'other'"),
        (Choice(layers="70"), "no layer 70"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, choice: Choice, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        FIGURES["heatmap"](scored_store(tmp_path), choice)


def test_a_choice_narrows_what_is_shown(tmp_path: Path) -> None:
    choice = Choice(checkpoints=("last:2",), layers="-3:", tasks=("Find", "Groups"))
    panels = FIGURES["heatmap"](scored_store(tmp_path), choice).axes[:2]
    assert [axes.get_title() for axes in panels] == ["Find", "Groups"]
    assert [axes.images[0].get_array().shape for axes in panels] == [(3, 2)] * 2


def test_a_source_is_split_into_where_it_is_from_and_whose_texts(tmp_path: Path) -> None:
    store = scored_store(tmp_path)
    sources = {
        "mean_pool/STS12/sample=9/against=last_layer": (
            "mean_pool/sample=9/against=last_layer",
            "STS12",
        ),
        "tokens/sample/STS12/lens=raw": ("tokens/sample/lens=raw", "STS12"),
        "views/small/mean_pool": ("views/small/mean_pool", ""),
    }
    one = metric("step0", 0, "new", 1.0)
    store.record_metrics([replace(one, source=source) for source in sources])
    rows = Data(store, Choice()).metric_rows.query("metric == 'new'").set_index("source")
    assert {s: (rows.origin[s], rows.task[s]) for s in sources} == sources


def test_a_baseline_without_all_scores_and_tasks_never_scored_together_are_refused(
    tmp_path: Path,
) -> None:
    store = scored_store(tmp_path)
    with pytest.raises(InvalidInputError, match="step40/3 has no score of Find"):
        FIGURES["win-rate"](store, Choice(baseline="step40/3", tasks=("Find",)))
    apart = create_store(tmp_path / "apart.zarr")
    apart.record_scores([score("step0", 0, "Find", 0.5), score("step0", 1, "Groups", 0.5)])
    with pytest.raises(InvalidInputError, match="scores of all 2 tasks: at most 1"):
        FIGURES["best-layer"](apart)
    with pytest.raises(MissingShardsError, match="no metrics: actstore metrics"):
        FIGURES["correlations"](apart)
