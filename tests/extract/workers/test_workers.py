"""Several workers at one extraction: joining it, dying in it, being told to stop."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from actstore.errors import StateRangeError, WorkerDiedError
from actstore.extract import ExtractionRequest, extract
from actstore.store import Store, create_store, verify_store
from tests.support.extraction import request_of, shards
from tests.support.processes import (
    FORKED,
    Command,
    ended_well,
    extracting,
    kill,
    run_command,
    start_extraction,
    wait_until,
)
from tests.support.tiny_models import save_tiny_model, tiny_texts

N_TEXTS = 400
"""Seven shards."""
BATCH_TOKENS = 64
"""So small that a shard takes a while."""
COMMAND = "extract s.zarr --model m --texts t.txt --batch-tokens 64 --no-lens-head"


@pytest.fixture(autouse=True)
def quick_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that are forked with torch imported: they differ in nothing else."""
    monkeypatch.setattr("actstore.extract.workers.pool._SPAWN", FORKED)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = create_store(tmp_path / "s.zarr")
    store.add_texts(tiny_texts(N_TEXTS))
    return store


@pytest.fixture
def slow_request(pythia_folder: Path) -> ExtractionRequest:
    return request_of(pythia_folder / "step0", devices="cpu:2", batch_tokens=BATCH_TOKENS)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, pythia_folder: Path) -> dict[str, bytes]:
    """The arrays that one worker writes."""
    store = create_store(tmp_path_factory.mktemp("undisturbed") / "s.zarr")
    store.add_texts(tiny_texts(N_TEXTS))
    extract(store, request_of(pythia_folder / "step0", batch_tokens=BATCH_TOKENS))
    return shards(store.path)


@pytest.fixture
def folder(tmp_path: Path, pythia_folder: Path) -> Path:
    """A folder to run commands in, with the model `m` and texts, the same as the store's."""
    (tmp_path / "m").symlink_to(pythia_folder / "step0")
    (tmp_path / "t.txt").write_text("\n".join(tiny_texts(N_TEXTS)))
    return tmp_path


def while_extracting(store: Store, act: Callable[[], object]) -> threading.Thread:
    """Do something as soon as workers are at shards."""

    def wait_and_act() -> None:
        wait_until(lambda: extracting(store.path))
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Freeze a process inside the block; its leases stay alive."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def others_extracting(store: Store, pid: int) -> list[int]:
    """The processes at shards besides this one."""
    return [lease.pid for lease in extracting(store.path) if lease.pid != pid]


def leftovers(store: Path) -> list[str]:
    """Leases and half-written files."""
    return [path.name for path in store.rglob("*") if path.suffix in (".lease", ".partial")]


def writers(store: Store, model: str) -> int:
    """How many processes committed shards."""
    return len(list((store.path / "models" / model / "main" / "ledger").glob("*.jsonl")))


def test_two_workers_write_the_bits_of_one(
    store: Store, slow_request: ExtractionRequest, undisturbed: dict[str, bytes]
) -> None:
    report = extract(store, slow_request).checkpoints[0]
    assert (report.shards_written, report.shards_kept, report.n_texts) == (7, 0, N_TEXTS)
    assert shards(store.path) == undisturbed
    assert writers(store, "step0") == 2
    assert leftovers(store.path) == []


def test_workers_without_a_shard_of_their_own_end_too(store: Store, pythia_folder: Path) -> None:
    request = request_of(pythia_folder, checkpoints=("step0",), rows=[0], devices="cpu:3")
    assert extract(store, request).checkpoints[0].shards_written == 1
    again = extract(store, request).checkpoints[0]
    assert (again.shards_written, again.shards_kept) == (0, 1)


def test_a_second_extraction_joins_the_first(
    store: Store, folder: Path, undisturbed: dict[str, bytes]
) -> None:
    """As torchrun and srun start them: the same command for every rank."""
    first = Command(folder, COMMAND, LOCAL_RANK="0", WORLD_SIZE="2")
    wait_until(lambda: extracting(store.path))
    with frozen(first.pid):  # or it might be done before the second has begun
        second = Command(folder, COMMAND, SLURM_STEP_NUM_TASKS="2", SLURM_LOCALID="1")
        wait_until(lambda: others_extracting(store, first.pid))
    assert (first.end()[0], second.end()[0]) == (0, 0)
    assert shards(store.path) == undisturbed
    assert writers(store, "step0") == 2


def test_ranks_that_start_together_make_the_store_and_add_the_texts_once(
    folder: Path, undisturbed: dict[str, bytes]
) -> None:
    command = COMMAND.replace("s.zarr", "new.zarr")
    ranks = [Command(folder, command, LOCAL_RANK=str(i), WORLD_SIZE="3") for i in range(3)]
    assert [rank.end() for rank in ranks] == [(0, "")] * 3
    assert [part.name for part in (folder / "new.zarr" / "texts").glob("part-*")] == [
        "part-00000.parquet"
    ]
    assert shards(folder / "new.zarr") == undisturbed
    assert leftovers(folder / "new.zarr") == []


def test_an_error_of_one_worker_stops_all_and_is_the_one_raised(
    store: Store, tmp_path: Path
) -> None:
    folder = save_tiny_model(tmp_path / "m", "gpt_neox")
    model = AutoModel.from_pretrained(folder)
    token = AutoTokenizer.from_pretrained(folder)("399:")["input_ids"][0]
    with torch.no_grad():
        model.get_input_embeddings().weight[token] = float("nan")
    model.save_pretrained(folder)
    with pytest.raises(StateRangeError, match=r"layer 0 .*rows \[.*infinite or NaN") as caught:
        extract(store, request_of(folder, devices="cpu:2"))
    assert any("while extracting the shard" in note for note in caught.value.__notes__)
    assert not any("Traceback" in note for note in caught.value.__notes__)
    assert leftovers(store.path) == []
    assert multiprocessing.active_children() == []


def test_the_shards_of_a_killed_worker_are_taken_over(
    store: Store, slow_request: ExtractionRequest, undisturbed: dict[str, bytes]
) -> None:
    killer = while_extracting(store, lambda: os.kill(extracting(store.path)[0].pid, 9))
    done = extract(store, slow_request)
    killer.join()
    report, lost = done.checkpoints[0], done.lost_workers
    assert report.shards_written + report.shards_kept == 7
    assert lost == ("the worker on cpu was killed by SIGKILL",)
    assert shards(store.path) == undisturbed
    assert verify_store(store).problems == ()


def test_workers_that_are_all_killed_are_named(
    store: Store, slow_request: ExtractionRequest, undisturbed: dict[str, bytes]
) -> None:
    def kill_all() -> None:
        for worker in multiprocessing.active_children():
            kill(worker)

    killer = while_extracting(store, kill_all)
    message = "worker on cpu was killed by SIGKILL.*Out of memory.*the same command again"
    with pytest.raises(WorkerDiedError, match=message):
        extract(store, slow_request)
    killer.join()
    extract(store, slow_request)
    assert shards(store.path) == undisturbed
    assert leftovers(store.path) == []


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (signal.SIGTERM, 75, "Stopped by SIGTERM. What was committed stays; run the same command"),
        (signal.SIGUSR1, 75, "Stopped by SIGUSR1"),
        (signal.SIGINT, 130, "Interrupted. What was committed stays; run the command again"),
    ],
)
@pytest.mark.parametrize("devices", ["cpu", pytest.param("cpu:2", marks=pytest.mark.slow)])
def test_a_signal_ends_a_command_that_can_be_gone_on_with(
    devices: str,
    number: signal.Signals,
    code: int,
    says: str,
    store: Store,
    folder: Path,
    undisturbed: dict[str, bytes],
) -> None:
    command = Command(folder, f"{COMMAND} --devices {devices}")
    wait_until(lambda: extracting(store.path))
    start = time.monotonic()
    os.killpg(command.pid, number)  # as a scheduler and a terminal do: the workers get it too
    got, said = command.end()
    assert time.monotonic() - start < 10
    assert (got, says in said, "Traceback" in said) == (code, True, False), said
    assert leftovers(store.path) == []
    assert len(shards(store.path)) < len(undisturbed)
    assert run_command(folder, COMMAND)[0] == 0
    assert shards(store.path) == undisturbed


@pytest.mark.slow
def test_workers_of_a_killed_command_stop_by_themselves(
    store: Store, slow_request: ExtractionRequest, undisturbed: dict[str, bytes]
) -> None:
    command = start_extraction(store.url, slow_request)
    wait_until(lambda: extracting(store.path))
    first = extracting(store.path)[0].pid
    with frozen(first):  # until both are at work
        wait_until(lambda: others_extracting(store, first))
        pids = [first, *others_extracting(store, first)]
        kill(command)
    for pid in pids:
        wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), seconds=10)
    assert leftovers(store.path) == []
    assert ended_well(start_extraction(store.url, slow_request))
    assert shards(store.path) == undisturbed
