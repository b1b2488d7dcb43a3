"""docs/metrics.md says what the registry says."""

from __future__ import annotations

from pathlib import Path

import pytest

from actstore import metrics
from actstore.metrics import all_metrics, metrics_page
from actstore.metrics.lens.quantities import QUANTITIES

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page_is_that_of_the_registry() -> None:
    """If not: make docs."""
    assert PAGE.read_text("utf-8") == metrics_page()


def test_every_metric_has_a_section_and_every_quantity_a_line() -> None:
    lines = metrics_page().splitlines()
    sections = [line.removeprefix("### ").strip("`") for line in lines if line.startswith("### ")]
    assert sections == [metric.name for metric in all_metrics()]
    for name in QUANTITIES:
        assert any(line.startswith(f"| `{name}` |") for line in lines)


@pytest.mark.parametrize("name", metrics.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    found = getattr(metrics, name)
    assert isinstance(found, dict) or found.__doc__
