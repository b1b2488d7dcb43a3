"""Which stages there are, in which order, and which waits for which."""

from __future__ import annotations

import pytest

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.experiment.load import load_experiment
from actstore.experiment.stages import NEEDS, STAGES, Share, ordered, run_stage, waits_for
from actstore.store import create_store
from tests.experiment.conftest import Write


@pytest.mark.parametrize(
    ("stage", "stages", "waits"),
    [
        ("collect", STAGES, ()),
        ("extract", STAGES, ("collect",)),
        ("metrics", STAGES, ("extract",)),
        ("report", STAGES, ("eval", "metrics")),
        ("report", ("collect", "extract", "metrics", "report"), ("extract", "metrics")),
        ("report", ("extract", "report"), ("extract",)),
        ("report", ("report",), ()),
        ("eval", ("collect", "eval"), ("collect",)),
    ],
)
def test_a_stage_waits_for_what_it_reads_also_over_stages_left_out(
    stage: str, stages: tuple[str, ...], waits: tuple[str, ...]
) -> None:
    assert waits_for(stage, stages) == waits  # type: ignore[arg-type]


def test_stages_come_after_what_they_need() -> None:
    for stage, needed in NEEDS.items():
        assert all(STAGES.index(one) < STAGES.index(stage) for one in needed)


def test_stages_run_in_their_own_order(write: Write) -> None:
    experiment = load_experiment(write(), ["stages=[report,collect]"])
    assert ordered([], experiment) == ("collect", "report")
    assert ordered(["metrics", "extract"], experiment) == ("extract", "metrics")
    with pytest.raises(UnknownNameError, match="'extract'"):
        ordered(["extrakt"], experiment)


def test_extraction_is_not_shared_out(write: Write) -> None:
    experiment = load_experiment(write())
    store = create_store(experiment.store)
    with pytest.raises(InvalidInputError, match="extract cannot be shared out; eval and metrics"):
        run_stage(store, experiment, "extract", Share(0, 2))
