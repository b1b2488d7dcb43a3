"""Everything here runs on the small hub, without the network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.mteb_data import SmallHub, use_small_hub


@pytest.fixture(scope="package")
def small_hub() -> Iterator[SmallHub]:
    with pytest.MonkeyPatch.context() as patch:
        yield use_small_hub(patch)


@pytest.fixture(autouse=True)
def _everywhere(small_hub: SmallHub) -> None:
    """Use the small hub in every test."""
