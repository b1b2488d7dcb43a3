"""A hub on this machine that takes datasets and gives them back: the real client talks to it.

It speaks what `huggingface_hub` needs without xet: repositories, branches, pull requests, commits
(small files in the commit, large ones through LFS), listings and downloads in ranges.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from huggingface_hub import constants

TOKEN = "hf_good"
_LARGE = 2000
"""Bytes from which a file goes through LFS."""


@dataclass
class Repo:
    """Every commit's files: bytes by path."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    private: bool = False

    def files(self, revision: str = "main") -> dict[str, bytes]:
        return self.commits[self.refs.get(revision, revision)]

    def commit(self, revision: str, files: dict[str, bytes]) -> str:
        names = repr((len(self.commits), sorted(files))).encode()
        sha = hashlib.sha1(names).hexdigest()
        self.commits[sha], self.refs[revision] = files, sha
        return sha


class Hub:
    """Its repositories, and what it was asked."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.refuse: Callable[[str, str], bool] = lambda method, path: False
        """Of which requests (method, path) the connection is cut."""
        self.lock = threading.Lock()

    def uploaded(self) -> list[str]:
        """The large files that were sent, by their hash, in order."""
        return [asked.rpartition("/")[2] for asked in self.asked if asked.startswith("PUT ")]


@contextmanager
def upload_hub(monkeypatch: pytest.MonkeyPatch, *, token: str | None = TOKEN) -> Iterator[Hub]:
    """Run a hub, and make it the one that this process's client talks to."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.utils._headers.get_token", lambda: token)
    at_once = SimpleNamespace(sleep=lambda seconds: None, time=time.time)
    monkeypatch.setattr("huggingface_hub.utils._http.time", at_once)  # it waits between tries
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(_Answering):
        pass

    Handler.hub = hub
    return Handler


class _Answering(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        if self.hub.refuse(self.command, path):
            self.close_connection = True
            self.connection.close()
            return
        for pattern, answer in _ROUTES:
            if match := re.fullmatch(pattern, f"{self.command} {path}"):
                with self.hub.lock:
                    answer(self, body, *match.groups())
                return
        self._error(404, "EntryNotFound")

    def send(self, answer: Any = None, *, status: int = 200, **headers: str) -> None:
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        told = {"Content-Length": str(len(data)), "Content-Type": "application/json", **headers}
        for name, value in told.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _error(self, status: int, code: str) -> None:
        self.send({"error": code}, status=status, X_Error_Code=code, X_Error_Message=code)

    def _may_write(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self._error(401, "Unauthorized")
        return False

    def _found(self, name: str, revision: str = "main") -> tuple[Repo, str] | None:
        """A repository and the commit of a revision; None after an answer that it is not there."""
        repo = self.hub.repos.get(name)
        if repo is None:
            self._error(404 if self.headers.get("Authorization") else 401, "RepoNotFound")
            return None
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            self._error(404, "RevisionNotFound")
            return None
        return repo, commit

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
        if not self._may_write():
            return
        if name in self.hub.repos:
            self.send({"url": f"{constants.ENDPOINT}/datasets/{name}"}, status=409)
            return
        repo = self.hub.repos[name] = Repo(private=asked.get("visibility") == "private")
        repo.commit("main", {".gitattributes": b"*.npz filter=lfs\n"})
        self.send({"url": f"{constants.ENDPOINT}/datasets/{name}", "name": name, "id": name})

    def branch(self, body: bytes, name: str, branch: str) -> None:
        if self._may_write() and (found := self._found(name)):
            if branch in found[0].refs:
                self._error(409, "Conflict")
                return
            found[0].refs[branch] = found[1]
            self.send({})

    def preupload(self, body: bytes, name: str, revision: str) -> None:
        if not self._may_write() or not (found := self._found(name, revision)):
            return
        there = found[0].commits[found[1]]
        files = [
            {
                "path": one["path"],
                "uploadMode": "lfs" if one["size"] >= _LARGE else "regular",
                "shouldIgnore": False,
                "oid": _oid(there[one["path"]]) if one["path"] in there else None,
            }
            for one in json.loads(body)["files"]
        ]
        self.send({"files": files})

    def batch(self, body: bytes, name: str) -> None:
        if not self._may_write():
            return
        objects = []
        for one in json.loads(body)["objects"]:
            href = f"{constants.ENDPOINT}/lfs/{one['oid']}"
            there = one["oid"] in self.hub.blobs
            objects.append({**one, **({} if there else {"actions": {"upload": {"href": href}}})})
        self.send({"transfer": "basic", "objects": objects})

    def upload(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.blobs[oid] = body
        self.send({})

    def commit(self, body: bytes, name: str, revision: str) -> None:
        if not self._may_write() or not (found := self._found(name, revision)):
            return
        repo, parent = found
        files = dict(repo.commits[parent])
        for line in body.decode().splitlines():
            one = json.loads(line)
            if one["key"] == "file":
                files[one["value"]["path"]] = base64.b64decode(one["value"]["content"])
            elif one["key"] == "lfsFile":
                files[one["value"]["path"]] = self.hub.blobs[one["value"]["oid"]]
        opens = parse_qs(urlsplit(self.path).query).get("create_pr") == ["1"]
        number = 1 + sum(ref.startswith("refs/pr/") for ref in repo.refs)
        sha = repo.commit(f"refs/pr/{number}" if opens else revision, files)
        page = f"{constants.ENDPOINT}/datasets/{name}"
        answer = {"commitUrl": f"{page}/commit/{sha}", "commitOid": sha, "success": True}
        if opens:
            answer["pullRequestUrl"] = f"{page}/discussions/{number}"
        self.send(answer)

    def tree(self, body: bytes, name: str, revision: str) -> None:
        if found := self._found(name, revision):
            files = found[0].commits[found[1]]
            self.send([_entry(path, data) for path, data in sorted(files.items())])

    def info(self, body: bytes, name: str, revision: str = "main") -> None:
        if found := self._found(name, revision):
            repo, commit = found
            siblings = [{"rfilename": path} for path in repo.commits[commit]]
            told = {"id": name, "sha": commit, "private": repo.private, "tags": []}
            self.send({**told, "siblings": siblings})

    def resolve(self, body: bytes, name: str, revision: str, path: str) -> None:
        if not (found := self._found(name, revision)):
            return
        data = found[0].commits[found[1]].get(path)
        if data is None:
            self._error(404, "EntryNotFound")
            return
        headers = {
            "ETag": f'"{_etag(data)}"',
            "X_Repo_Commit": found[1],
            "Accept_Ranges": "bytes",
            "Content_Type": "application/octet-stream",
        }
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, stop = int(match[1]), int(match[2] or len(data) - 1) + 1
            part = f"bytes {start}-{stop - 1}/{len(data)}"
            self.send(data[start:stop], status=206, Content_Range=part, **headers)
            return
        self.send(data, **headers)

    def validate(self, body: bytes) -> None:
        assert "license" in json.loads(body)["content"]
        self.send({"errors": [], "warnings": []})


_REPO = r"([^/]+/[^/]+)"
_ROUTES: list[tuple[str, Callable[..., None]]] = [
    (r"POST /api/repos/create", _Answering.create),
    (rf"POST /api/datasets/{_REPO}/branch/(.+)", _Answering.branch),
    (rf"POST /api/datasets/{_REPO}/preupload/(.+)", _Answering.preupload),
    (rf"POST /datasets/{_REPO}\.git/info/lfs/objects/batch", _Answering.batch),
    (r"PUT /lfs/(.+)", _Answering.upload),
    (rf"POST /api/datasets/{_REPO}/commit/(.+)", _Answering.commit),
    (rf"GET /api/datasets/{_REPO}/tree/(.+)", _Answering.tree),
    (rf"GET /api/datasets/{_REPO}/revision/(.+)", _Answering.info),
    (rf"GET /api/datasets/{_REPO}", _Answering.info),
    (rf"(?:GET|HEAD) /datasets/{_REPO}/resolve/(main|refs/pr/\d+|[^/]+)/(.+)", _Answering.resolve),
    (r"POST /api/validate-yaml", _Answering.validate),
]


def _oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest() if len(data) >= _LARGE else _oid(data)


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": _oid(data)}
    if len(data) >= _LARGE:
        sha256 = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"oid": sha256, "size": len(data), "pointerSize": 130}
    return entry
