"""What holds for every test."""

from __future__ import annotations

import os

import pytest

from tests.support.slurm.cluster import missing_programs

NO_SLURM = "SLURM is not installed"

# Tests run in several processes: torch's threads would wait for each other on busy cores. Read when
# torch and the BLAS libraries are first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


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
    """Say loudly that SLURM was not tested: else a skip among hundreds of tests is overlooked."""
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if NO_SLURM in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.section("SLURM WAS NOT TESTED", red=True, bold=True)
        terminalreporter.line(
            f"{len(skipped)} tests that submit to a real SLURM were SKIPPED: this machine lacks "
            f"{', '.join(missing_programs())}. As root on Debian: tests/support/slurm/install.sh"
        )
