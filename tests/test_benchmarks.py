"""The benchmarks with the clock off: the cases they compare do the same work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from actstore.store import open_store
from benchmarks import extract as bench_extract
from benchmarks import (
    extract_floor,
    extract_gpu,
    extract_peers,
    extract_stopping,
    extract_workers,
    opening,
)
from benchmarks.peers.environment import run_peer
from benchmarks.peers.protocol import Task, as_arguments, read_task
from benchmarks.timing import target_table
from benchmarks.workload import Lengths, Settings, Shape, Workload, make_workload


def test_opening_compares_the_same_checkpoints(tmp_path: Path) -> None:
    cases = opening.make_cases(opening.build(tmp_path, n_checkpoints=3, n_texts=10))
    assert len(cases["reading zarr.json"]()) == 3
    for name in ("store.dataset", "xarray.concat"):
        assert cases[name]()["mean_pool"].shape == (3, 25, 10, 1024)


def test_texts_have_the_lengths_they_are_drawn_with(settings: Settings) -> None:
    drawn = Lengths().draw(200)
    assert np.median(drawn) == pytest.approx(25, rel=0.05)
    assert np.percentile(drawn, 95) == pytest.approx(135, rel=0.1)
    assert max(drawn) == 450
    work = make_workload(settings)
    tokenizer = transformers.AutoTokenizer.from_pretrained(work.model)
    lengths = [len(ids) for ids in tokenizer(work.texts)["input_ids"]]
    np.testing.assert_allclose(lengths, settings.lengths.draw(settings.texts), atol=4)
    assert len(set(work.texts)) == settings.texts


def test_the_bare_forward_runs_the_batches_of_the_extraction(settings: Settings) -> None:
    cases = extract_floor.floor_cases(settings, make_workload(settings))
    bare, ours = (_shapes_run(cases[name]) for name in (extract_floor.FLOOR, extract_floor.EXTRACT))
    assert len(bare) > 1
    assert ours[-len(bare) :] == bare  # before them, loading probes the model


def test_sentence_transformers_gives_the_normed_mean_of_the_last_layer(settings: Settings) -> None:
    work = make_workload(settings)
    cases = extract_floor.sentence_transformers_cases(settings, work)
    theirs = cases["SentenceTransformer.encode"]()
    cases[extract_floor.EXTRACT]()
    ours = _read(settings, work, settings.shape.blocks)
    np.testing.assert_allclose(ours, theirs, atol=2e-3, rtol=2e-3)


def test_the_published_recipe_gives_the_normed_means_of_all_layers(settings: Settings) -> None:
    work = make_workload(settings)
    cases = extract_floor.recipe_cases(settings, work)
    theirs = cases[extract_floor.RECIPE]()
    cases[extract_floor.EXTRACT]()
    for layer, vectors in enumerate(theirs):
        np.testing.assert_allclose(
            _read(settings, work, layer), vectors, atol=2e-3, rtol=2e-3, err_msg=f"layer {layer}"
        )


@pytest.mark.slow
def test_hooks_that_keep_all_states_give_the_same_vectors(settings: Settings) -> None:
    ours, theirs = (extract_peers.make_task(settings, name) for name in ("actstore", "hooks"))
    outcomes = [
        run_peer(task.folder.name.removeprefix("of_"), Path(sys.executable), task)
        for task in (ours, theirs)
    ]
    assert extract_peers.largest_difference(ours, theirs) < 1e-5
    assert outcomes[1].n_tokens > outcomes[0].n_tokens > settings.texts
    assert all(outcome.cpu_seconds > 0 and outcome.peak_bytes > 0 for outcome in outcomes)


def test_a_peer_that_cannot_run_is_a_line_that_says_why(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(extract_peers.PEERS, "absent", "a peer that is not there")
    row = extract_peers.peer_row(settings, "absent")
    assert "not run" in row.measured
    assert "No module named benchmarks.peers.absent" in row.measured


def test_a_task_survives_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(tmp_path / "m", tmp_path / "t.json", tmp_path, 64, 1, 8, keep_states=True)
    monkeypatch.setattr(sys, "argv", ["peer", *as_arguments(task)])
    assert read_task() == task


@pytest.mark.slow
def test_all_numbers_of_workers_write_the_same_states(settings: Settings) -> None:
    work, found = make_workload(settings), []
    for n_workers in extract_workers.DEVICES:
        extract_workers.command(settings, work, n_workers)()
        found.append(_read(settings, work, 1, store="workers.zarr"))
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.slow
@pytest.mark.parametrize("moment", extract_stopping.MOMENTS)
def test_a_stopped_run_gives_its_leases_back(settings: Settings, moment: str) -> None:
    work = make_workload(settings)
    stop = extract_stopping.stop_at(settings, work, moment)
    assert stop.leases_left == 0
    assert stop.exit_code in (extract_stopping.EX_TEMPFAIL, 0)  # a tiny run may be done before


def test_the_gpu_benchmark_compares_the_same_passes(settings: Settings) -> None:
    work = make_workload(settings)
    cases, flops = extract_gpu.gpu_cases(settings, work, "cpu")
    bare, ours = (_shapes_run(cases[name]) for name in (extract_floor.FLOOR, extract_floor.EXTRACT))
    assert ours[-len(bare) :] == bare
    assert flops == extract_gpu.model_flops(settings.shape, _lengths(settings, work))


def test_model_flops_are_those_of_the_matrix_products() -> None:
    config = transformers.GPTNeoXConfig(
        vocab_size=50,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        attn_implementation="eager",
    )
    with FlopCounterMode(display=False) as counter:
        transformers.GPTNeoXModel(config)(torch.zeros((1, 30), dtype=torch.int64))
    shape = Shape(blocks=2, hidden=64, heads=4)
    assert extract_gpu.model_flops(shape, [30]) == counter.get_total_flops()


def test_the_table_has_a_line_for_every_benchmark_asked_for(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = bench_extract.run(settings, ["floor", "gpu"])
    table = target_table(rows)
    assert table.count("\n") == 4
    assert " x time" in table.splitlines()[2]
    assert "floor:" in capsys.readouterr().out


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Sizes at which a benchmark takes no time; its model is made once."""
    folder = tmp_path_factory.mktemp("benchmarks")
    return Settings(
        folder=folder,
        environments=folder,
        shape=Shape(blocks=2, hidden=32, heads=4, vocabulary=400, positions=128),
        texts=70,
        lengths=Lengths(median=8, p95=20, longest=40),
        max_tokens=64,
        rounds=1,
    )


def _shapes_run(case: Callable[[], object]) -> list[tuple[int, ...]]:
    """Texts and tokens of each batch that a case runs through a model."""
    shapes: list[tuple[int, ...]] = []

    def note(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if isinstance(module, torch.nn.Embedding):
            shapes.append(tuple(inputs[0].shape))

    handle = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        case()
    finally:
        handle.remove()
    return shapes


def _lengths(settings: Settings, work: Workload) -> list[int]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(work.model)
    encoded = tokenizer(work.texts, truncation=True, max_length=settings.max_tokens)
    return [len(ids) for ids in encoded["input_ids"]]


def _read(settings: Settings, work: Workload, layer: int, store: str = "store.zarr") -> np.ndarray:
    """(text, hidden): what an extraction stored of a layer, each token normed."""
    opened = open_store(settings.folder / store)
    return opened.embeddings(
        opened.only_model(),
        checkpoint="main",
        layer=layer,
        pooling="mean_normed",
        texts=work.texts,
    )
