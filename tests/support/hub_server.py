"""A hub that answers on this machine: lists of revisions, and what their files are."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from huggingface_hub import constants

Files = Mapping[str, str]
"""sha256 by file name."""


@contextmanager
def hub_server(
    monkeypatch: pytest.MonkeyPatch, model: str, revisions: Mapping[str, Files]
) -> Iterator[None]:
    """Serve a model's branches, whose commits are made up by `commit_of`; no file can be got."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(model, revisions))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def commit_of(revision: str) -> str:
    """A commit for a revision: forty hexadecimal digits."""
    return revision.encode().hex().ljust(40, "0")[:40]


def _handler(model: str, revisions: Mapping[str, Files]) -> type[BaseHTTPRequestHandler]:
    branches = [
        {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit_of(name)}
        for name in revisions
    ]
    answers: dict[str, Any] = {
        f"/api/models/{model}/refs": {"branches": branches, "tags": [], "converts": []}
    }
    for name, files in revisions.items():
        siblings = [
            {"rfilename": file, "blobId": "0" * 40, "size": 1, "lfs": _lfs(hash_)}
            for file, hash_ in files.items()
        ]
        answer = {"id": model, "modelId": model, "sha": commit_of(name), "siblings": siblings}
        answers[f"/api/models/{model}/revision/{commit_of(name)}"] = answer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path.split("?")[0])
            self.send_response(404 if answer is None else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer or {"error": "not found"}).encode())

        def do_HEAD(self) -> None:
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _lfs(hash_: str) -> dict[str, object]:
    return {"sha256": hash_, "size": 1, "pointerSize": 100}
