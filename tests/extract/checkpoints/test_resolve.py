"""Checkpoints are all found, or all that are missing are named, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.extract.checkpoints.resolve import resolve_checkpoints
from tests.support.hub import use_cache
from tests.support.hub_server import hub_server

HubModel = tuple[str, dict[str, str]]


def test_a_selection_is_of_the_models_own_checkpoints(
    pythia_folder: Path, hub_model: HubModel
) -> None:
    for model in (str(pythia_folder), hub_model[0]):
        assert resolve_checkpoints(model, "step?*,last:1") == ("step0", "step16", "step64")
        assert resolve_checkpoints(model, "step0:step64:64") == ("step0", "step64")
    assert resolve_checkpoints(hub_model[0], ["main", "step0"]) == ("step0", "main")


def test_every_missing_checkpoint_is_named_and_not_only_the_first(
    pythia_folder: Path, hub_model: HubModel
) -> None:
    for model in (str(pythia_folder), hub_model[0]):
        with pytest.raises(
            UnknownNameError, match=r"lacks 4 of the 5 .*: step17, step34, step51"
        ) as e:
            resolve_checkpoints(model, "step0:step68:17")
        assert "'step16' to 'step17'" in str(e.value)
        assert "step0, step16, step64" in str(e.value)


def test_one_missing_among_many_is_named_with_the_nearest(pythia_folder: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"'step65'.*'step64'.* The other 3 exist"):
        resolve_checkpoints(str(pythia_folder), "step0,step16,step64,step65")


def test_a_commit_is_found_though_no_list_has_it(hub_model: HubModel) -> None:
    name, commits = hub_model
    assert set(resolve_checkpoints(name, ["main", commits["step0"]])) == {"main", commits["step0"]}
    with pytest.raises(UnknownNameError, match="0123456789"):
        resolve_checkpoints(name, ["main", "0123456789"])


def test_an_unknown_model_is_told_as_such(hub_model: HubModel) -> None:
    for selection in ("main", "pythia-all"):
        with pytest.raises(UnknownNameError, match="no model 'EleutherAI/none'"):
            resolve_checkpoints("EleutherAI/none", selection)
    with pytest.raises(UnknownNameError, match="checkpoint that fits 'step9\\*'"):
        resolve_checkpoints(hub_model[0], "step9*")
    with pytest.raises(InvalidInputError, match="last:4"):
        resolve_checkpoints(hub_model[0], "last:4")


def test_what_the_hub_lists_is_found_without_asking_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_cache(monkeypatch, tmp_path)
    steps = {f"step{i}": {} for i in range(150)}
    with hub_server(monkeypatch, "org/m", {**steps, "main": {}}):
        assert len(resolve_checkpoints("org/m", "step0:step149:1,main")) == 151
        with pytest.raises(UnknownNameError, match="lacks 2 of the 152 checkpoints: step150, ste"):
            resolve_checkpoints("org/m", "step0:step151:1")
