from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.refs import by_training_step, look_up, model_name, parse_layers, training_step


@pytest.mark.parametrize(
    ("selection", "layers"),
    [
        ("all", range(7)),
        ("0,3,6", (0, 3, 6)),
        ("2-4", (2, 3, 4)),
        ("-4:", (3, 4, 5, 6)),
        (":2", (0, 1)),
        ("2:4", (2, 3)),
        ("-1", (6,)),
        ("5, 1-2, 5", (1, 2, 5)),
    ],
)
def test_selections_of_a_model_with_six_blocks(selection: str, layers: tuple[int, ...]) -> None:
    assert parse_layers(selection, 6) == tuple(layers)


@given(st.sets(st.integers(0, 12), min_size=1))
def test_any_set_of_layers_can_be_written(layers: set[int]) -> None:
    assert parse_layers(",".join(map(str, layers)), 12) == tuple(sorted(layers))


@pytest.mark.parametrize(
    ("selection", "error", "says"),
    [
        ("7", UnknownNameError, "no layer 7.*0 .* to 6"),
        ("-8", UnknownNameError, "no layer -8"),
        ("5-9", UnknownNameError, "no layer 7"),
        ("x", InvalidInputError, "Cannot read 'x'"),
        ("", InvalidInputError, "Cannot read ''"),
        ("4-2", InvalidInputError, "select none"),
    ],
)
def test_what_a_model_does_not_have_is_said(
    selection: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        parse_layers(selection, 6)


def test_checkpoints_are_ordered_by_training_and_main_comes_last() -> None:
    names = ["main", "step143000", "step0", "step1000", "step64"]
    assert by_training_step(names) == ["step0", "step64", "step1000", "step143000", "main"]


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("step1000", 1000),
        ("global_step5", 5),
        ("checkpoint-500", 500),
        ("stage1-step140000-tokens294B", 140000),
        ("main", None),
        ("v2", None),
    ],
)
def test_the_training_step_is_what_the_name_states(name: str, step: int | None) -> None:
    assert training_step(name) == step


def test_a_folder_is_called_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "models")
    assert {model_name(n) for n in ("mine", "./mine", str(tmp_path / "models/mine/"))} == {"mine"}
    assert model_name("EleutherAI/pythia-70m") == "EleutherAI/pythia-70m"


def test_an_unknown_name_is_answered_with_the_nearest_and_how_to_list() -> None:
    with pytest.raises(UnknownNameError, match=r"'maen'.*'mean'.*List: x"):
        look_up("pooling", "maen", ["mean", "max"], "List: x")
    with pytest.raises(UnknownNameError, match="There are: mean, max"):
        look_up("pooling", "zzz", ["mean", "max"], "")
    assert look_up("pooling", "max", ["mean", "max"], "") == "max"
