"""A proxy before an HTTP server that counts what passes, and spoils it by a plan."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from urllib.parse import urlsplit


class Fault(Enum):
    """What may happen to a request."""

    ERROR_500 = "it is answered with an internal error"
    ERROR_503 = "it is told to slow down"
    LOST = "the connection ends before it is forwarded"
    UNANSWERED = "it is done, and the connection ends without an answer"
    LATE = "it is done, and the answer comes when nobody waits any more"
    RESET = "the connection ends in the middle of the answer"
    SHORT = "a range is answered with fewer bytes, or the answer ends early"
    TWICE = "it is delivered twice, and the second answer is given"


Plan = Callable[[str, str], Fault | None]
"""From a request's method and path to what happens to it."""


@dataclass(frozen=True)
class Passed:
    """A request that was answered."""

    method: str
    path: str
    """With its query."""
    n_bytes: int
    """Of the answer's body."""


@dataclass
class Proxy:
    """A proxy that runs."""

    url: str
    late_seconds: float
    """How long a late answer takes."""
    plan: Plan = lambda *_: None
    passed: list[Passed] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    """What was spoiled."""


def sometimes(seed: int, rate: float, faults: tuple[Fault, ...] = tuple(Fault)) -> Plan:
    """A plan that spoils a share of the requests."""
    random, lock = Random(seed), threading.Lock()

    def plan(method: str, path: str) -> Fault | None:
        with lock:
            return random.choice(faults) if random.random() < rate else None

    return plan


@contextmanager
def proxy_before(endpoint: str, *, late_seconds: float = 1.0) -> Iterator[Proxy]:
    """A proxy in front of a server on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.daemon_threads = True
    proxy = Proxy(f"http://127.0.0.1:{server.server_port}", late_seconds)
    server.RequestHandlerClass = _handler(proxy, endpoint)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class _Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


def _handler(proxy: Proxy, endpoint: str) -> type[BaseHTTPRequestHandler]:
    host = urlsplit(endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith("do_"):  # do_GET, do_PUT, ...
                return self._answer
            raise AttributeError(name)

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.plan(self.command, self.path)
            if fault:
                proxy.faults.append(fault)
            if fault is Fault.LOST:
                return self._hang_up()
            if fault in (Fault.ERROR_500, Fault.ERROR_503):
                return self._send(_Answer(int(fault.name[-3:]), [], b"<Error/>"))
            answer = self._forward(body)
            if fault is Fault.TWICE and self.command in ("PUT", "DELETE"):
                answer = self._forward(body)
            if fault is Fault.UNANSWERED:
                return self._hang_up()
            if fault is Fault.LATE:
                time.sleep(proxy.late_seconds)
            if fault is Fault.SHORT and (answer.status != 206 or len(answer.body) < 2):
                fault = Fault.RESET
            if fault is Fault.SHORT:
                answer = _shortened(answer)
            proxy.passed.append(Passed(self.command, self.path, len(answer.body)))
            return self._send(answer, half=fault is Fault.RESET)

        def _forward(self, body: bytes) -> _Answer:
            connection = HTTPConnection(host, timeout=30)
            headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
            connection.request(self.command, self.path, body, {**headers, "Connection": "close"})
            response: HTTPResponse = connection.getresponse()
            kept = [(k, v) for k, v in response.getheaders() if k.lower() not in _OWN_HEADERS]
            length = response.getheader("Content-Length")
            answer = _Answer(response.status, kept, response.read())
            connection.close()
            if self.command == "HEAD":
                answer.headers.append(("Content-Length", length or "0"))
            return answer

        def _send(self, answer: _Answer, *, half: bool = False) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body[: len(answer.body) // 2] if half else answer.body)
            if half:
                self._hang_up()

        def _hang_up(self) -> None:
            self.close_connection = True
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # the client waits no more
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    return Handler


_OWN_HEADERS = ("connection", "content-length", "date", "server", "transfer-encoding")


def _shortened(answer: _Answer) -> _Answer:
    """Half of a range, and honest about it."""
    body = answer.body[: len(answer.body) // 2]
    headers = []
    for name, value in answer.headers:
        if name.lower() == "content-range":
            start, _, size = re.findall(r"\d+", value)
            value = f"bytes {start}-{int(start) + len(body) - 1}/{size}"
        headers.append((name, value))
    return _Answer(answer.status, headers, body)
