"""`actstore views` as a user types it, and what extraction makes of the views."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner, Result

from actstore.commands.views import views
from actstore.errors import InvalidInputError, PlanMismatchError, UnknownNameError
from actstore.metrics.views.augment import augment
from actstore.metrics.views.lidar import lidar
from actstore.store import Store, create_store
from tests.support.command_line import Run, command_line
from tests.support.hub import use_cache
from tests.support.tiny_models import save_tiny_model, tiny_texts

Views = Callable[[str], Result]


@pytest.fixture
def run_views() -> Views:
    app = typer.Typer()
    app.command()(views)

    def call(options: str) -> Result:
        result = CliRunner().invoke(app, options.split(), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result

    return call


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(tmp_path)
    made = create_store("s.zarr")
    rows = made.add_texts(tiny_texts(40))
    calls = pa.table(
        {"split": ["test"], "subset": [""], "prompt_type": [""], "rows": [rows[[7, 3, 9]]]}
    )
    made.write_task("Tiny", {}, calls, {})
    return made


def test_views_of_a_sample_are_added_and_the_next_command_is_told(
    run_views: Views, store: Store
) -> None:
    said = run_views("s.zarr --texts-sample 10 --views 3 --seed 4").output
    found = store.view_set("default")
    assert found.rows.shape == (10, 3)
    assert store.source_rows().tolist() == list(range(40))
    assert set(found.source_rows) < set(range(40))
    for row, view_rows in zip(found.source_rows, found.rows, strict=True):
        (text,) = store.read_texts([row])
        assert store.read_texts(view_rows) == [augment(text, view, 4) for view in range(3)]
    assert found.attributes["seed"] == 4
    assert "3 views of 10 texts as 'default'" in said
    assert f"{len(found.new_rows)} texts came with them" in said
    assert "actstore extract s.zarr --model" in said
    assert "actstore metrics s.zarr --metric infonce" in said


def test_the_same_command_again_changes_nothing_though_texts_were_added(
    run_views: Views, store: Store
) -> None:
    first = run_views("s.zarr --texts-sample 10 --views 2").output
    store.add_texts([f"quite another text {i}" for i in range(50)])
    rows = store.text_rows()
    assert run_views("s.zarr --texts-sample 10 --views 2").output == first
    np.testing.assert_array_equal(store.text_rows(), rows)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--seed 1", "seed: the store has 0, asked is 1"),
        ("--views 3", "n_views: the store has 2, asked is 3"),
        ("--texts-sample 11", "texts: the store has '10 of all texts', asked is '11 of"),
        ("--task Tiny", "texts: the store has '10 of all texts', asked is '10 of Tiny'"),
    ],
)
def test_other_views_need_another_name(
    run_views: Views, store: Store, options: str, said: str
) -> None:
    run_views("s.zarr --texts-sample 10 --views 2")
    n_texts = len(store.text_rows())
    command = "s.zarr --texts-sample 10 --views 2"
    with pytest.raises(PlanMismatchError, match=rf"{said}.*--name default-2"):
        run_views(f"{command} {options}")
    assert len(store.text_rows()) == n_texts
    run_views(f"{command} {options} --name other")
    assert store.views() == ["default", "other"]


def test_views_may_be_of_one_task_or_of_a_suites_texts(run_views: Views, store: Store) -> None:
    run_views("s.zarr --task Tiny --name task")
    assert store.view_set("task").source_rows.tolist() == [3, 7, 9]
    assert store.view_set("task").n_views == 16
    run_views("s.zarr --suite Tiny --texts-sample 2 --name suite")
    assert len(store.view_set("suite").source_rows) == 2
    with pytest.raises(UnknownNameError, match="Tinny"):
        run_views("s.zarr --task Tinny --name no")


def test_views_are_not_made_of_views(run_views: Views, store: Store) -> None:
    run_views("s.zarr --views 2")
    run_views("s.zarr --views 2 --seed 1 --name second")
    assert store.view_set("second").source_rows.tolist() == list(range(40))


def test_a_store_without_texts_has_nothing_to_make_views_of(
    run_views: Views, tmp_path: Path
) -> None:
    create_store(tmp_path / "empty.zarr")
    with pytest.raises(InvalidInputError, match="no texts.*actstore collect"):
        run_views(f"{tmp_path / 'empty.zarr'}")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], store: Store) -> Run:
    use_cache(monkeypatch, store.path.parent / "hub")
    return command_line(monkeypatch, capsys, store.path.parent)


def test_the_command_that_is_told_extracts_the_views(
    run_views: Views, run: Run, store: Store, tmp_path: Path
) -> None:
    save_tiny_model(tmp_path / "neox", "gpt_neox", checkpoints=("step0",))
    assert run("extract s.zarr --model neox --checkpoints step0 --pooling mean")[0] == 0
    said = run_views("s.zarr --texts-sample 12 --views 4").output
    (told,) = re.findall(r"actstore (extract .*)", said)
    assert told == "extract s.zarr --model neox --checkpoints step0 --pooling mean"
    assert run(told)[0] == 0
    found = store.view_set("default")
    states = store.embeddings("neox", checkpoint="step0", layer=2, rows=found.rows.ravel())
    assert np.isfinite(states).all()
    by_text = states.reshape(*found.rows.shape, -1)
    assert 1 <= lidar(by_text) <= 11
