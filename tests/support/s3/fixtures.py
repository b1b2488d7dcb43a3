"""Fixtures: moto's server for the session, and a bucket for a test."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from urllib.request import Request, urlopen

import pytest

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
}


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Where a server listens that speaks S3; it checks no signatures and keeps all in memory."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket (`s3://...`); the environment says where it is."""
    return new_bucket(s3_endpoint, monkeypatch)


def new_bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same, for fixtures that serve more than one test."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    urlopen(Request(f"{endpoint}/{name}", method="PUT")).close()
    for variable, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(variable, value)
    return f"s3://{name}"
