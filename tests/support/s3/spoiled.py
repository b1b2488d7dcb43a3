"""A bucket behind the proxy, for clients that lose patience at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from actstore.store.storage import s3
from actstore.store.storage.patience import Patience
from tests.support.s3.proxy import Proxy, proxy_before

TIMEOUT = 0.5
"""Seconds."""


@pytest.fixture
def proxy(bucket: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What stands between `bucket` and its server; it spoils nothing before it has a plan."""
    monkeypatch.setenv("AWS_TIMEOUT", f"{TIMEOUT}s")
    waits = {"init_backoff": timedelta(milliseconds=2), "max_backoff": timedelta(milliseconds=20)}
    monkeypatch.setattr(s3, "_RETRIES", {"max_retries": 2, "backoff": waits})
    monkeypatch.setattr(s3, "_PATIENCE", Patience(first_wait=0.005))
    with proxy_before(s3_endpoint, late_seconds=2 * TIMEOUT) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy
