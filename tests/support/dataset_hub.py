"""A hub of data sets on this machine, which the libraries talk to as to the real one.

It knows commits, file listings and files. `datasets.load_dataset` and `snapshot_download` run their
own code against it, with caches of their own.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import datasets
import mteb
import pyarrow.parquet as pq
import pytest
from datasets import DatasetDict
from huggingface_hub import constants
from mteb.abstasks import AbsTask

from actstore.evaluate.collection import sources
from actstore.snapshots import Snapshot

if TYPE_CHECKING:
    from tests.support.mteb_data import SmallHub

Files = Mapping[str, bytes]

_snapshot_of = sources.dataset_snapshot

_API = re.compile(
    r"/api/(?P<kind>datasets|models)/(?P<repo>[^/]+/[^/]+)/(?P<what>revision|tree|paths-info)/"
    r"(?P<revision>[^/]+)(?:/(?P<path>.*))?"
)
_REFS = re.compile(r"/api/(?:datasets|models)/(?P<repo>[^/]+/[^/]+)/refs")
_FILE = re.compile(
    r"/(?P<kind>datasets/)?(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)"
)


class DatasetHub:
    """Repositories by name; each has commits, which have files."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, Files]] = {}
        self.branches: dict[tuple[str, str], str] = {}
        """Commits by repository and branch."""
        self.answers_with: dict[str, str] = {}
        """Commits whose files come as those of others: a hub that is not to be trusted."""
        self.gated: set[str] = set()
        self.got: list[str] = []
        """The files that were asked for, as `<repository>/<path>`."""

    def put(self, repo: str, commit: str, configs: Mapping[str, DatasetDict]) -> None:
        """Add a commit of Parquet files and of a card that names them."""
        self.repos.setdefault(repo, {})[commit] = repository_files(configs)

    def files(self, repo: str, revision: str) -> tuple[str, Files] | None:
        """A commit and its files."""
        commit = self.branches.get((repo, revision), revision)
        commit = self.answers_with.get(commit, commit)
        files = self.repos.get(repo, {}).get(commit)
        return None if files is None else (commit, files)


def repository_files(configs: Mapping[str, DatasetDict]) -> dict[str, bytes]:
    """What a repository with these configurations holds."""
    files: dict[str, bytes] = {}
    card = ["---", "configs:"]
    for config, splits in configs.items():
        card += [f"- config_name: {config}", "  data_files:"]
        for split, data in splits.items():
            path = f"{config}/{split}-00000-of-00001.parquet"
            buffer = io.BytesIO()
            pq.write_table(data.with_format("arrow")[:], buffer)
            files[path] = buffer.getvalue()
            card += [f"  - split: {split}", f"    path: {config}/{split}-*"]
    return {"README.md": "\n".join([*card, "---", ""]).encode(), **files}


@contextmanager
def serve(
    monkeypatch: pytest.MonkeyPatch, hub: DatasetHub, cache: Path
) -> Iterator[Callable[[], None]]:
    """Let the libraries reach this hub, with empty caches in a folder; yields what cuts it off.

    mteb loads from it too, where the small hub stood in its place.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    files = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
    _set_offline(monkeypatch, offline=False)
    _use_real_loading(monkeypatch)
    try:
        yield lambda: _set_offline(monkeypatch, offline=True)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def hub_of(small: SmallHub, *names: str) -> DatasetHub:
    """A hub that has the small data of these tasks, each at the revision that mteb pins."""
    hub = DatasetHub()
    for name in names:
        source = mteb.get_task(name).metadata.dataset
        hub.put(source["path"], source["revision"], small.data[source["path"]])
    return hub


def use_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tasks ask what stands in the hub's place, by the repository's name."""

    def found_nowhere(task: AbsTask) -> Snapshot:
        repo, revision = task.metadata.dataset["path"], task.metadata.dataset["revision"]
        return Snapshot("dataset", repo, revision, revision, Path(repo), {}, was_there=True)

    monkeypatch.setattr(sources, "dataset_snapshot", found_nowhere)


def _set_offline(monkeypatch: pytest.MonkeyPatch, *, offline: bool) -> None:
    """As HF_HUB_OFFLINE, which is read too early to be set here."""
    for module in (constants, datasets.config):
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", offline)


def _use_real_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    loaders = "mteb.abstasks.retrieval_dataset_loaders"
    monkeypatch.setattr("mteb.abstasks.abstask.load_dataset", datasets.load_dataset)
    monkeypatch.setattr(sources, "dataset_snapshot", _snapshot_of)
    for name in ("load_dataset", "get_dataset_config_names", "get_dataset_split_names"):
        monkeypatch.setattr(f"{loaders}.{name}", getattr(datasets, name))


def _handler(hub: DatasetHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if found := _REFS.fullmatch(url.path):
                self._branches(found["repo"])
            elif found := _API.fullmatch(url.path):
                recursive = parse_qs(url.query).get("recursive", ["false"])[0].lower()
                self._listing(found, recursive=recursive in ("true", "1"))
            elif found := _FILE.fullmatch(url.path):
                self._file(found)
            else:
                self._refuse("EntryNotFound")

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            found = _API.fullmatch(urlsplit(self.path).path)
            if found is None or (here := self._commit(found)) is None:
                return
            paths = json.loads(body)["paths"] if body[:1] == "{" else parse_qs(body)["paths"]
            listed = {entry["path"]: entry for entry in _entries(here[1], "", recursive=True)}
            self._json([listed[path] for path in paths if path in listed])

        def _commit(self, found: re.Match[str]) -> tuple[str, Files] | None:
            repo = found["repo"]
            if repo in hub.gated:
                self._refuse("GatedRepo", 403)
                return None
            here = hub.files(repo, unquote(found["revision"]))
            if here is None:
                self._refuse("RevisionNotFound" if repo in hub.repos else "RepoNotFound")
            return here

        def _branches(self, repo: str) -> None:
            found = [
                {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit}
                for (of, name), commit in hub.branches.items()
                if of == repo
            ]
            self._json({"branches": found, "tags": [], "converts": []})

        def _listing(self, found: re.Match[str], *, recursive: bool) -> None:
            here = self._commit(found)
            if here is None:
                return
            commit, files = here
            if found["what"] == "tree":
                folder = unquote(found["path"] or "")
                self._json([*_entries(files, folder, recursive=recursive)])
            else:
                siblings = [{"rfilename": path} for path in files]
                self._json({"id": found["repo"], "sha": commit, "siblings": siblings})

        def _file(self, found: re.Match[str]) -> None:
            here, path = self._commit(found), unquote(found["path"])
            if here is None:
                return None
            commit, files = here
            if path not in files:
                return self._refuse("EntryNotFound")
            if self.command == "GET":
                hub.got.append(f"{found['repo']}/{path}")
            data = files[path]
            headers = {"ETag": f'"{_hash(data)}"', "X-Repo-Commit": commit}
            start, end = _range(self.headers.get("Range"), len(data))
            if (start, end) != (0, len(data)):
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
                return self._send(206, data[start:end], headers)
            return self._send(200, data, headers)

        def _json(self, value: Any) -> None:
            self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def _refuse(self, code: str, status: int = 404) -> None:
            self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": code})

        def _send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _entries(files: Files, folder: str, *, recursive: bool) -> Iterator[dict[str, Any]]:
    """What the hub lists below a folder: files and folders."""
    start = f"{folder}/" if folder else ""
    below = [path for path in files if path.startswith(start)]
    folders = {posixpath.dirname(path) for path in below} - {folder, ""}
    for path in sorted({*below, *folders}):
        if recursive or "/" not in path.removeprefix(start):
            kind = "file" if path in files else "directory"
            data = files.get(path, path.encode())
            size = len(data) if path in files else 0
            yield {"type": kind, "oid": _hash(data), "size": size, "path": path}


def _range(header: str | None, size: int) -> tuple[int, int]:
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", header or "")
    if not found:
        return 0, size
    return int(found[1]), min(int(found[2] or size - 1) + 1, size)


def _hash(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
