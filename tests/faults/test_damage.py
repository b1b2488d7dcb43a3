"""Damage to any object of a store: verify names it, and no reader gives a wrong number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from actstore.errors import ActstoreError
from actstore.store import open_store, verify_store
from tests.faults.damage import KINDS, Damager, Trial
from tests.faults.reading import questions
from tests.metrics import small_store
from tests.store.moving.full_store import CHECKPOINTS, full_store

pytestmark = pytest.mark.faults
JOURNALS = ("scores", "metrics", "text ledger")
"""Of these, whole lines that are lost are lost without a trace: docs/verify.md."""
TABLES = ("views", "suite", "vocabulary", "experiments", "metric values")
"""Nothing else says that there was one of these; what it held is missing, and never wrong."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same store of other numbers, lengths and another plan."""
    real = np.random.default_rng

    def other_plan(checkpoint: str) -> Any:
        from dataclasses import replace

        return replace(spec(checkpoint), max_tokens=32)

    with pytest.MonkeyPatch.context() as patch:
        spec = small_store.small_spec
        patch.setattr(np.random, "default_rng", lambda seed: real(seed + 1))
        patch.setattr(small_store, "small_spec", other_plan)
        return _built(tmp_path_factory.mktemp("other"))


def _built(folder: Path) -> Path:
    store = full_store(folder)
    for name in CHECKPOINTS:
        group = store.checkpoint(small_store.MODEL, name)
        rng = np.random.default_rng(len(name))
        group.begin_poolings(["last"])
        for shard in group.todo(store.text_rows(), ["last"]):
            builder, n = group.new_builder(), len(shard.rows)
            shape = len(group.layers), n, group.spec.hidden_size
            builder.put(shard.positions, rng.normal(size=shape).astype(np.float32))
            lengths = np.full(n, 3, np.int32), np.zeros(n, bool)
            group.commit(shard, {"last": builder}, *lengths, small_store.STATS)
    return store.path


@pytest.fixture
def trials(
    fault_trials: Callable[[int, int], int], fault_seed: int
) -> Iterator[tuple[str, Random]]:
    """A kind of objects in turn, and random numbers, for each trial."""
    kinds = cycle(KINDS)
    n = fault_trials(2 * len(KINDS), 500)
    return ((next(kinds), Random(f"{fault_seed}/{number}")) for number in range(n))


def test_damage_is_found_by_verify_and_never_read_as_a_number(
    root: Path, other: Path, trials: Iterator[tuple[str, Random]]
) -> None:
    sound = {name: ask(open_store(root)) for name, ask in questions()}
    assert not verify_store(open_store(root)).problems
    damager, wrong = Damager(root, other), []
    for kind, random in trials:
        trial = damager.damage(kind, random)
        wrong += [f"{trial}: {what}" for what in (*_unnamed(root, trial), *_misread(root, sound))]
        damager.mend()
    assert not wrong, "\n".join(wrong)


def _unnamed(root: Path, trial: Trial) -> Iterator[str]:
    """What is wrong with what verify says."""
    try:
        report = verify_store(open_store(root))
    except ActstoreError:
        if trial.key != "zarr.json":  # without which it is no store
            yield "verify ends with an error"
        return
    except Exception as error:
        yield f"verify fails: {error!r}"
        return
    lost = trial.damage in ("truncation", "zero length", "deletion", "stale copy")
    if (lost and trial.kind in JOURNALS) or (trial.damage == "deletion" and trial.kind in TABLES):
        return
    named = {one.key for one in report.problems} | {note.example for note in report.notes}
    if not any(_is_part(trial.key, key) for key in named):
        yield f"verify does not name it, but {sorted(named)[:3]}"


def _is_part(key: str, named: str) -> bool:
    """Whether naming one object names another: itself, or the head, lens or task it is part of."""
    folder = named.rpartition("/")[0]
    if key == named or ("/ledger/" in key and folder.startswith(key.partition("/ledger/")[0])):
        return True
    whole = len(folder.split("/")) >= 4 or folder.startswith("tasks/")
    group, _, name = key.rpartition("/")
    if name == "zarr.json" and len(group.split("/")) >= 4 and named.startswith(f"{group}/"):
        return True  # without its document a head or sample is none: what is in it is nobody's
    return whole and key.startswith(f"{folder}/")


def _misread(root: Path, sound: dict[str, Any]) -> Iterator[str]:
    """Answers that are neither right nor an error nor missing."""
    for name, ask in questions():
        try:
            answer = ask(open_store(root))
        except ActstoreError:
            continue
        except Exception as error:
            yield f"{name}: a traceback, {error!r}"
            continue
        if isinstance(answer, list) and {*answer} <= {*sound[name]}:
            continue
        if answer != sound[name]:
            yield f"{name}: a wrong answer"
