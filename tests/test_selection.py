"""What `--checkpoints` selects."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.selection import PRESETS, Known, select_checkpoints

STORED = ("main", "step512", "step0", "step1000", "step2000", "step10000", "step143000")


def never() -> Sequence[str]:
    raise AssertionError("nothing has to be looked up for this")


def these(*names: str) -> Known:
    return lambda: names


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        ("main", ["main"]),
        (" step1000 , main,step2,", ["step2", "step1000", "main"]),
        ("main,step1,main,step1", ["step1", "main"]),
        (["step10", "a,b"], ["step10", "a,b"]),
        ("step1000:step3000:1000,step2000", ["step1000", "step2000", "step3000"]),
        ("1:10:4", ["1", "5", "9"]),
        ("v2-step3:v2-step5:1", ["v2-step3", "v2-step4", "v2-step5"]),
    ],
)
def test_names_and_ranges_with_a_step_need_no_list(selection: str, names: list[str]) -> None:
    assert list(select_checkpoints(selection, never)) == names


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        ("step1*000", ["step1000", "step10000", "step143000"]),
        ("step?", ["step0"]),
        ("*", ["step0", "step512", "step1000", "step2000", "step10000", "step143000", "main"]),
        ("last:2", ["step10000", "step143000"]),
        ("last:1,main", ["step143000", "main"]),
        ("step512:step10000", ["step512", "step1000", "step2000", "step10000"]),
        ("step5*,last:1", ["step512", "step143000"]),
    ],
)
def test_globs_open_ranges_and_the_last_are_of_what_is_known(
    selection: str, names: list[str]
) -> None:
    assert list(select_checkpoints(selection, these(*STORED))) == names


def test_names_with_more_than_a_step_can_be_ranged_over() -> None:
    known = these(
        "stage1-step1000-tokens5B", "stage1-step9000-tokens38B", "stage2-step1000-tokens1B"
    )
    assert select_checkpoints("stage1-step0:stage1-step5000", known) == (known()[0],)


def test_pythia_all_is_every_published_step_and_main() -> None:
    names = select_checkpoints("pythia-all", never)
    assert len(names) == 155
    assert names[:12] == (*(f"step{2**i // 2}" for i in range(11)), "step1000")
    assert names[-2:] == ("step143000", "main")


def test_pythia_log_doubles_from_step_to_step() -> None:
    steps = [int(name.removeprefix("step")) for name in select_checkpoints("pythia-log", never)]
    assert steps[:11] == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    assert steps[11:] == [1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000, 143000]
    assert set(PRESETS["pythia-log"]) < set(PRESETS["pythia-all"])


def test_of_a_store_presets_and_ranges_mean_what_it_holds() -> None:
    known = these(*STORED)
    log = select_checkpoints("pythia-log", known, stored=True)
    assert log == ("step0", "step512", "step1000", "step2000", "step143000")
    assert select_checkpoints("step0:step143000:1000", known, stored=True) == (
        *("step0", "step1000", "step2000", "step10000", "step143000"),
    )
    assert select_checkpoints("step7", known, stored=True) == ("step7",)


def test_what_selects_nothing_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"'step9\*'\. Did you mean 'step"):
        select_checkpoints("main,step9*", these(*STORED))
    with pytest.raises(UnknownNameError, match="'pythia-all'. There are: other"):
        select_checkpoints("pythia-all", these("other"), stored=True)
    with pytest.raises(UnknownNameError, match="'step7:step9'"):
        select_checkpoints("step7:step9", these(*STORED))


@pytest.mark.parametrize(
    "selection",
    [
        *("", " , ", "a:b", "step1:main", "step1:stop2:3", "step1000:step143000:", "last:"),
        *("last:0", "last:x", "last:-1", "step5:step1", "step1:step5:0", "step1:5"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_can(selection: str) -> None:
    with pytest.raises(InvalidInputError, match=r"step1000:step143000:1000 \| last:50"):
        select_checkpoints(selection, these(*STORED))


def test_more_of_the_last_than_there_are_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="asks for 50 .* and 6 with .* latest: step143000"):
        select_checkpoints("last:50", these(*STORED))
