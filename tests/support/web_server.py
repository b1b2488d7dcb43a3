"""A web server on this machine that lists folders and answers for ranges, as nginx does."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def web_server(folder: Path, *, ranges: bool = True, listings: bool = True) -> Iterator[str]:
    """Serve a folder; the URL of its root."""
    handler = type("Handler", (_Handler,), {"ranges": ranges, "listings": listings})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(SimpleHTTPRequestHandler):
    ranges: bool
    listings: bool
    protocol_version = "HTTP/1.1"

    def send_head(self) -> Any:
        path = Path(self.translate_path(self.path))
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not (self.ranges and asked and path.is_file()):
            return super().send_head()
        data = path.read_bytes()
        start, stop = int(asked[1]), min(int(asked[2]) + 1, len(data))
        if start >= len(data):
            self.send_error(416)
            return None
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        return io.BytesIO(data[start:stop])

    def list_directory(self, path: Any) -> BinaryIO | None:
        if self.listings:
            return super().list_directory(path)
        self.send_error(403)
        return None

    def log_message(self, *_: object) -> None:
        pass
