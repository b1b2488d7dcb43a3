"""Fitting lenses to a store: as a user types it, and from Python."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from numpy.typing import NDArray

from actstore.commands.fit_lens import fit_lens as command
from actstore.errors import InvalidInputError, MissingShardsError, StoppedError, UnknownNameError
from actstore.metrics import lens_kl_final_to_layer
from actstore.metrics.lens.fitted.decoder import FittedLens
from actstore.metrics.lens.fitted.fit import KINDS
from actstore.metrics.lens.fitted.split import split_texts
from actstore.metrics.lens.fitted.tuned import TuningSettings
from actstore.metrics.running import fit_layer, fitting
from actstore.metrics.running.fit_request import LensFitRequest
from actstore.metrics.running.fitting import fit_lens
from actstore.present import terminal
from actstore.store import CheckpointGroup, ShardStats, Store, TokenisedText, create_store
from actstore.store.heads.lenses import LensWriter
from tests.metrics.small_store import HIDDEN, MODEL, N_BLOCKS, small_head, small_spec

LAYERS = tuple(range(N_BLOCKS))
N_TEXTS = 60
REQUEST = LensFitRequest(MODEL, kinds=tuple(KINDS), tuning=TuningSettings(steps=60))
Texts = list[NDArray[np.float32]]


def states_of(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    """(layer, token, hidden): layer 0 an affine, 1 a scaled copy of the last, 2 it and noise."""
    final = rng.normal(size=(n, HIDDEN)) * np.geomspace(4, 0.5, HIDDEN) + 1
    fixed = np.random.default_rng(3)
    affine = final @ (np.eye(HIDDEN) + 0.5 * fixed.normal(size=(HIDDEN, HIDDEN))) + 2
    noisy = 0.5 * final + np.tanh(final) + 0.4 * rng.normal(size=final.shape)
    return np.stack([affine, 0.2 * final - 1, noisy, final]).astype(np.float32)


def store_of(folder: Path, n_texts: int = N_TEXTS) -> Store:
    rng = np.random.default_rng(17)
    store = create_store(folder / "s.zarr")
    store.add_texts([f"text number {i}" for i in range(n_texts)])
    for name in ("step0", "step1000"):
        group = store.begin_checkpoint(small_spec(name))
        group.write_head(small_head(rng))
        write_sample(group, [states_of(rng, n) for n in rng.integers(5, 40, n_texts)])
    return store


def write_sample(group: CheckpointGroup, states: Texts) -> None:
    sizes = [text.shape[1] for text in states]
    sample = group.begin_token_sample("sample", [tokenised(i, n) for i, n in enumerate(sizes)])
    starts = sample.spans["start"].to_numpy()
    for shard in sample.todo():
        builder = sample.new_builder()
        for start, text in zip(starts, states, strict=True):
            if shard.start <= start < shard.stop:
                builder.put(np.arange(start, start + text.shape[1]) - shard.start, text)
        sample.commit(shard, builder, ShardStats(1.0, 0, 0, 1.0, "cpu", {}))


def tokenised(row: int, n: int) -> TokenisedText:
    ids = np.arange(n, dtype=np.int32)
    return TokenisedText(row, ids, np.zeros(n, dtype=bool), np.ones(n, np.int32))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of(tmp_path_factory.mktemp("lenses")).path


@pytest.fixture
def store(template: Path, tmp_path: Path) -> Store:
    shutil.copytree(template, tmp_path / "s.zarr")
    return create_store(tmp_path / "s.zarr")


@pytest.fixture(scope="session")
def fitted(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with every lens of both checkpoints."""
    folder = tmp_path_factory.mktemp("fitted") / "s.zarr"
    shutil.copytree(template, folder)
    store = create_store(folder)
    fit_lens(store, REQUEST)
    return store


def test_every_checkpoint_gets_every_lens(fitted: Store) -> None:
    for name in fitted.checkpoints(MODEL):
        group = fitted.checkpoint(MODEL, name)
        assert sorted(group.lenses()) == sorted(KINDS)
        assert all(group.lens(kind).layers == LAYERS for kind in KINDS)


def test_exact_relations_are_read_as_the_last_layer_reads_itself(fitted: Store) -> None:
    kl = {kind: kl_of(fitted, kind) for kind in KINDS}
    assert max(kl["affine"][0], kl["tuned"][0]) < 1e-4
    assert max(kl["procrustes"][1], kl["affine"][1], kl["tuned"][1]) < 1e-4
    assert min(kl["procrustes"][0], kl["mean_shift"][0]) > 0.01


def kl_of(store: Store, kind: str) -> list[float]:
    found: list[float] = store.checkpoint(MODEL, "step0").lens(kind).fitted["kl_bits"]
    return found


def test_lenses_are_ranked_by_how_much_they_may_do(fitted: Store) -> None:
    lens = fitted.checkpoint(MODEL, "step0").lens("affine")
    assert kl_of(fitted, "tuned")[2] < kl_of(fitted, "affine")[2]
    assert kl_of(fitted, "affine")[2] < lens.fitted["kl_without_bits"][2]


def test_what_is_stored_says_how_good_the_stored_lens_is(fitted: Store) -> None:
    """The divergences of texts that nothing was fitted to, through the lens as it is read."""
    group = fitted.checkpoint(MODEL, "step0")
    sample = group.token_sample("sample")
    rows = np.arange(N_TEXTS)
    hashes = group.texts.hashes_of(rows)
    judging = split_texts(rows, hashes["high"], hashes["low"]).evaluation
    tokens = np.flatnonzero(np.isin(sample.row, judging))
    states = np.stack([sample.states(i, 0, len(sample.row))[tokens] for i in group.layers])
    for kind in ("affine", "tuned"):
        lens = group.lens(kind)
        translated = FittedLens.of(lens).translated(states, group.layers)
        for layer in LAYERS:
            plain = lens_kl_final_to_layer(states[layer], states[-1], group.head()).mean()
            through = lens_kl_final_to_layer(translated[layer], states[-1], group.head()).mean()
            assert lens.fitted["kl_without_bits"][layer] == pytest.approx(plain, rel=1e-5)
            assert lens.fitted["kl_bits"][layer] == pytest.approx(through, rel=1e-4, abs=1e-6)
        assert lens.fitted["n_tokens"]["evaluation"] == len(tokens)


def test_the_provenance_is_whole(fitted: Store) -> None:
    tuned = fitted.checkpoint(MODEL, "step0").lens("tuned").fitted
    assert {
        "kind": "tuned",
        "sample": "sample",
        "seed": 0,
        "eval_share": 0.2,
    }.items() <= tuned.items()
    assert tuned["tuning"]["steps"] == 60
    assert sum(tuned["n_texts"].values()) == N_TEXTS
    for before, after in zip(
        tuned["held_out_kl_before_bits"], tuned["held_out_kl_bits"], strict=True
    ):
        assert after <= before
    assert len(fitted.checkpoint(MODEL, "step0").lens("affine").fitted["ridge"]) == len(LAYERS)


def test_pieces_of_any_size_give_the_same_lens(
    store: Store, fitted: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_layer, "_PIECE_BYTES", 8 * HIDDEN * 50)
    fit_lens(store, replace(REQUEST, kinds=("affine", "procrustes"), checkpoints=("step0",)))
    for kind in ("affine", "procrustes"):
        mine, whole = (one.checkpoint(MODEL, "step0").lens(kind) for one in (store, fitted))
        assert mine.weight == pytest.approx(whole.weight, rel=1e-6, abs=1e-6)
        assert mine.fitted["kl_bits"] == pytest.approx(whole.fitted["kl_bits"], rel=1e-4, abs=1e-6)


def test_two_processes_give_the_same_bits(store: Store, fitted: Store) -> None:
    fit_lens(store, replace(REQUEST, workers=2))
    for name in store.checkpoints(MODEL):
        for kind in KINDS:
            mine, other = (one.checkpoint(MODEL, name).lens(kind) for one in (store, fitted))
            assert (mine.weight == other.weight).all()
            assert (mine.bias == other.bias).all()


def test_what_is_there_is_kept_and_what_is_out_of_date_fitted_again(store: Store) -> None:
    request = replace(REQUEST, kinds=("affine", "procrustes"))
    assert not any(fit.kept for fit in fit_lens(store, request).fits)
    assert all(fit.kept for fit in fit_lens(store, request).fits)
    assert not any(fit.kept for fit in fit_lens(store, replace(request, overwrite=True)).fits)
    assert not any(fit.kept for fit in fit_lens(store, replace(request, seed=1)).fits)
    store.checkpoint(MODEL, "step0").write_head(small_head(np.random.default_rng(99)))
    again = fit_lens(store, replace(request, seed=1))
    assert [fit.kept for fit in again.fits] == [False, False, True, True]
    assert store.checkpoint(MODEL, "step0").lens("affine").name == "affine"


def test_a_run_that_is_stopped_goes_on_with_the_checkpoint_it_was_at(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = LensWriter.put

    def stop_at_the_second(writer: LensWriter, layer: int, *maps: NDArray[np.float32]) -> None:
        if writer.group.checkpoint == "step1000" and layer == 1:
            raise StoppedError("stopped")
        put(writer, layer, *maps)

    with monkeypatch.context() as patched:
        patched.setattr(fitting.LensWriter, "put", stop_at_the_second)
        with pytest.raises(StoppedError):
            fit_lens(store, replace(REQUEST, kinds=("affine",)))
    assert store.checkpoint(MODEL, "step1000").lenses() == []
    resumed = fit_lens(store, replace(REQUEST, kinds=("affine",)))
    assert [fit.kept for fit in resumed.fits] == [True, False]


def test_one_text_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="of the sample's 1, .*--tokens-name"):
        fit_lens(store_of(tmp_path, 1), REQUEST)


def test_a_layer_of_states_that_are_not_finite_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(17)
    store = create_store(tmp_path / "s.zarr")
    store.add_texts([f"text number {i}" for i in range(N_TEXTS)])
    group = store.begin_checkpoint(small_spec("step0"))
    group.write_head(small_head(rng))
    states = [states_of(rng, 9) for _ in range(N_TEXTS)]
    for text in states:
        text[1, 3, 0] = np.nan
    write_sample(group, states)
    with pytest.raises(InvalidInputError, match="tokens of the sample 'sample' .* at layer 1"):
        fit_lens(store, replace(REQUEST, kinds=("affine",)))


def test_what_is_missing_is_said_before_anything_is_fitted(store: Store) -> None:
    with pytest.raises(UnknownNameError, match="tokens 200"):
        fit_lens(store, replace(REQUEST, sample="other"))
    with pytest.raises(UnknownNameError, match="affine"):
        fit_lens(store, replace(REQUEST, kinds=("afine",)))
    (store.path / store.checkpoint(MODEL, "step1000").head_prefix / "zarr.json").unlink()
    with pytest.raises(MissingShardsError, match="--lens-head"):
        fit_lens(store, REQUEST)
    assert store.checkpoint(MODEL, "step0").lenses() == []


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`actstore fit-lens …`: what it prints."""
    app = typer.Typer()
    app.command()(command)
    monkeypatch.setattr(terminal.console, "_width", 200)

    def call(*arguments: str) -> str:
        app(list(arguments), standalone_mode=False)
        return capsys.readouterr().out

    return call


def test_the_command_prints_each_layer_with_and_without_each_lens(
    run: Callable[..., str], fitted: Store
) -> None:
    printed = run(fitted.url, "--lens", ",".join(KINDS), "--tuned-steps", "60")
    lens = fitted.checkpoint(MODEL, "step1000").lens("tuned")
    of_layer_2 = [lens.fitted["kl_without_bits"][2], lens.fitted["kl_bits"][2]]
    line = next(
        line for line in printed.split("step1000", 1)[1].splitlines() if line.startswith("│     2")
    )
    assert [f"{bits:.3f}" in line for bits in of_layer_2] == [True, True]
    assert "0 lenses fitted" in printed
    assert "8 already there" in printed


def test_the_command_gives_json_to_programs(run: Callable[..., str], store: Store) -> None:
    printed = json.loads(run(store.url, "--lens", "procrustes", "--checkpoints", "step0", "--json"))
    assert [(one["checkpoint"], one["name"], one["kept"]) for one in printed] == [
        ("step0", "procrustes", False)
    ]
    assert printed[0]["fitted"]["kl_bits"] == kl_of(store, "procrustes")
