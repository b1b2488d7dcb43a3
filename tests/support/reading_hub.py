"""A hub on this machine with one dataset to read: listings, and files in ranges."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from huggingface_hub import constants

REPO = "org/states"
_COMMIT = "c" * 40
_LAST_COMMIT = {"id": _COMMIT, "title": "t", "date": "2026-01-01T00:00:00.000Z"}


@contextmanager
def reading_hub(monkeypatch: pytest.MonkeyPatch, files: Mapping[str, bytes]) -> Iterator[None]:
    """Serve files as the main branch of the dataset `REPO` to this process's client."""
    handler = type("Handler", (_Answering,), {"files": files})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    template = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Answering(BaseHTTPRequestHandler):
    files: Mapping[str, bytes]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        if match := re.fullmatch(rf"/datasets/{REPO}/resolve/[^/]+/(.+)", path):
            return self._file(match[1])
        if match := re.fullmatch(rf"/api/datasets/{REPO}/tree/[^/]+/?(.*)", path):
            recursive = parse_qs(url.query).get("recursive", [""])[0].lower() == "true"
            return self._listing(match[1], recursive=recursive)
        if path.startswith(f"/api/datasets/{REPO}"):
            return self._send({"id": REPO, "sha": _COMMIT, "siblings": []})
        return self._missing("RepoNotFound")

    do_HEAD = do_GET  # noqa: N815

    def _file(self, path: str) -> None:
        if path not in self.files:
            return self._missing("EntryNotFound")
        data, size = self.files[path], len(self.files[path])
        headers = {"ETag": '"e"', "X-Repo-Commit": _COMMIT}
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not asked:
            return self._send(data, headers=headers)
        start, stop = int(asked[1]), min(int(asked[2]) + 1, size)
        if start >= size:
            return self._send(b"", status=416, headers={"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return self._send(data[start:stop], status=206, headers=headers)

    def _listing(self, folder: str, *, recursive: bool) -> None:
        start = f"{folder}/" if folder else ""
        entries: dict[str, Any] = {}
        for path, data in self.files.items():
            if not path.startswith(start):
                continue
            parts = path[len(start) :].split("/")
            for depth in range(1, len(parts)):
                entries[start + "/".join(parts[:depth])] = {"type": "directory", "size": 0}
            entries[path] = {"type": "file", "size": len(data)}
        if not entries:
            return self._missing("EntryNotFound")
        return self._send(
            [
                {"path": path, "oid": "0" * 40, "lastCommit": _LAST_COMMIT, **entry}
                for path, entry in entries.items()
                if recursive or "/" not in path[len(start) :]
            ]
        )

    def _missing(self, code: str) -> None:
        self._send({"error": code}, status=404, headers={"X-Error-Code": code})

    def _send(
        self, answer: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass
