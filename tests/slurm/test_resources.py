"""What jobs ask for: what is accepted, and which of two wins."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from actstore.slurm.resources import Resources, time_in_seconds


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("90", 5400),
        ("1:30:00", 5400),
        ("24:00:00", 86400),
        ("2-12", 216000),
        ("2-12:30", 217800),
        ("2-12:30:05", 217805),
        ("0-01", 3600),
        ("UNLIMITED", None),
    ],
)
def test_times_are_read_as_slurm_reads_them(time: str, seconds: int | None) -> None:
    assert time_in_seconds(time) == seconds
    assert Resources(time=time).time == time


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"time": "24:00"}, '24 minutes and 0 seconds to SLURM. Write "24:00:00"'),
        ({"time": 86400}, "86400 is a number: YAML reads 24:00:00 without quotes"),
        ({"time": "one day"}, "'one day' is not a time limit. Write \"90\" \\(minutes\\)"),
        ({"time": "0"}, "no time at all"),
        ({"memory": 64}, '64 is a number without a unit. Write "64G"'),
        ({"memory": "64 GB"}, "'64 GB' is not an amount of memory. Write \"64G\""),
        ({"array": 0}, "greater than or equal to 1"),
        ({"nodes": 0}, "greater than or equal to 1"),
        ({"gpus_per_node": "4"}, "valid integer"),
        ({"gres": "gpu:a100:4", "gpus_per_node": 4}, "both ask for GPUs. Keep one"),
        ({"partition": "gpu\n#SBATCH --uid=0"}, "holds a space, a quote or a backslash"),
        ({"account": "a b"}, "holds a space"),
        ({"extra": ["mail-type=FAIL"]}, "not a line for sbatch"),
        ({"extra": ["#SBATCH --mail-type=FAIL\nrm -r x"]}, "not a line for sbatch"),
        ({"extra": ["--signal=USR2@1"]}, "--signal cannot be given in `extra`"),
        ({"partitoin": "gpu"}, "Extra inputs are not permitted"),
    ],
)
def test_what_slurm_would_misread_or_refuse_is_an_error(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        Resources.model_validate(fields)


def test_the_special_goes_before_the_general() -> None:
    general = Resources(partition="cpu", time="90", extra=("--mail-type=FAIL",))
    special = Resources(partition="gpu", memory="8G")
    assert special.over(general) == Resources(
        partition="gpu", time="90", memory="8G", extra=("--mail-type=FAIL",)
    )
    assert Resources().over(general) == general
    assert special.over(Resources()) == special


def test_merging_in_two_steps_is_merging_in_any_order() -> None:
    one, two = Resources(gpus_per_node=2), Resources(gres="gpu:a100:4,nvme:1", nodes=2)
    three = Resources(gres="gpu:1", account="a")
    assert one.over(two).over(three) == one.over(two.over(three))


def test_gpus_asked_for_in_another_way_replace_those_of_the_profile() -> None:
    kind, count = Resources(gres="gpu:a100:4"), Resources(gpus_per_node=2)
    assert count.over(kind) == count
    assert kind.over(count) == kind
    assert Resources(gpus_per_node=0).over(kind).gpus == 0
    assert Resources(gres="").over(kind).gpus == 0
    assert Resources(gres="nvme:1").over(count).gpus == 2


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [("gpu", 1), ("gpu:4", 4), ("gpu:a100:4", 4), ("gpu:a100", 1), ("nvme:2", 0)],
)
def test_gpus_are_counted_in_generic_resources(gres: str, gpus: int) -> None:
    assert Resources(gres=gres).gpus == gpus


def test_gpus_of_several_kinds_add_up() -> None:
    assert Resources(gres="gpu:a100:2,gpu:h100:1,nvme:1").gpus == 3
    assert Resources(gres="gpu:a100:2(S:0-1)").gpus == 2


def test_extra_lines_are_whole_lines_however_they_are_written() -> None:
    extra = Resources.model_validate(
        {"extra": ["--mail-type=FAIL", "#SBATCH --hint=nomultithread"]}
    )
    assert extra.extra == ("#SBATCH --mail-type=FAIL", "#SBATCH --hint=nomultithread")
