"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator

import pytest

from tests.support.browser import NO_BROWSER
from tests.support.s3.fixtures import bucket, s3_endpoint
from tests.support.slurm.cluster import missing_programs

__all__ = ["bucket", "s3_endpoint"]  # fixtures of all tests

NO_SLURM = "SLURM is not installed"

# Tests run in several processes: torch's threads would wait for each other on busy cores. Read when
# torch and the BLAS libraries are first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """How often, and how, the tests marked `faults` break things."""
    group = parser.getgroup("faults")
    group.addoption("--fault-trials", choices=("short", "full"), default="short")
    group.addoption("--fault-seed", type=int, default=0, metavar="N")


@pytest.fixture
def fault_trials(pytestconfig: pytest.Config) -> Callable[[int, int], int]:
    """`fault_trials(short, full)`: how many trials `--fault-trials` asks for."""
    full = pytestconfig.getoption("--fault-trials") == "full"
    return lambda short, long: long if full else short


@pytest.fixture
def fault_seed(pytestconfig: pytest.Config) -> int:
    """What the trials of a test begin their random numbers with."""
    return int(pytestconfig.getoption("--fault-seed"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say the seed under a test of faults that failed."""
    report = yield
    if report.failed and item.get_closest_marker("faults"):
        asked = f"--fault-trials {item.config.getoption('--fault-trials')}"
        seed = item.config.getoption("--fault-seed")
        report.sections.append(
            ("To see it again", f"pytest {item.nodeid} {asked} --fault-seed {seed}")
        )
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need a GPU, or SLURM's packages, are skipped where there are none."""
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu:
        import torch

        if not torch.cuda.is_available():
            for item in on_gpu:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))

    missing = missing_programs()
    for item in items:
        if missing and item.get_closest_marker("slurm"):
            item.add_marker(pytest.mark.skip(reason=f"{NO_SLURM} ({', '.join(missing)})"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what was not tested: else a skip among hundreds of tests is overlooked."""
    _say_skipped(terminalreporter, NO_SLURM, "SLURM", "tests/support/slurm/install.sh")
    _say_skipped(terminalreporter, NO_BROWSER, "THE REPORT", "tests/support/browser/install.sh")


def _say_skipped(
    terminalreporter: pytest.TerminalReporter, reason: str, what: str, install: str
) -> None:
    skipped = [
        str(report.longrepr)
        for report in terminalreporter.stats.get("skipped", [])
        if reason in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.section(f"{what} WAS NOT TESTED", red=True, bold=True)
        terminalreporter.line(
            f"{len(skipped)} tests were SKIPPED: {reason}. As root on Debian: {install}"
        )
