"""An HTTP proxy before an S3 server that counts requests and, where it is told to, cuts, stalls, damages or lies."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from s3_server import Bucket

_BLOCK = 1 << 16
_NEVER_S = 600.0


@dataclass(frozen=True)
class Request:
    """One request: HTTP method, object key, query and range."""

    method: str
    key: str
    query: dict[str, list[str]]
    range: str | None

    @property
    def operation(self) -> str:
        """GetObject, PutObject, … as S3 calls them, for those that matter here."""
        if not self.key:
            return "List" if self.method == "GET" else f"{self.method} bucket"
        if self.method == "POST":
            return "CreateUpload" if "uploads" in self.query else "CompleteUpload"
        if "uploadId" in self.query:
            return {"PUT": "UploadPart", "DELETE": "AbortUpload"}[self.method]
        return {"GET": "GetObject", "PUT": "PutObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}[
            self.method
        ]


@dataclass
class Fault:
    """What to do to the next ``times`` requests that ``applies`` to.

    Attributes:
        kind: ``cut`` the connection, or ``stall`` until released, after ``after`` bytes of the answer's body;
            ``damage`` the request's body; answer with ``status``; ``lie`` about the ETag; ``lose`` the answer to a
            request that was carried out.
    """

    kind: Literal["cut", "stall", "damage", "status", "lie", "lose"]
    applies: Callable[[Request], bool]
    times: int = 1
    after: int = 0
    status: int = 503


@dataclass
class FaultyProxy:
    """A running proxy."""

    endpoint: str
    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def fail(self, kind: Any, operation: str, key: str = "", **options: Any) -> None:
        """Add a fault for an operation on objects whose key contains ``key``."""
        self.faults.append(
            Fault(kind, lambda request: request.operation == operation and key in request.key, **options)
        )

    def counts(self) -> Counter[str]:
        """How many requests of each operation came."""
        return Counter(request.operation for request in self.requests)

    def read_keys(self) -> list[str]:
        """Keys of the objects that were read, in order."""
        return [request.key for request in self.requests if request.operation == "GetObject"]

    def forget(self) -> None:
        """Count from here."""
        self.requests.clear()

    def fault_of(self, request: Request) -> Fault | None:
        """The fault that this request meets, which is then used up."""
        for fault in self.faults:
            if fault.times > 0 and fault.applies(request):
                fault.times -= 1
                return fault
        return None


@pytest.fixture
def proxy(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """A proxy between voxline and the server."""
    upstream = urlsplit(s3.server.endpoint).netloc

    class Handler(_Handler):
        target = upstream

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made = FaultyProxy(f"http://127.0.0.1:{server.server_address[1]}")
    Handler.proxy = made
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.endpoint)
    yield made
    made.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target = ""
    proxy: FaultyProxy

    def do_GET(self) -> None:
        self._pass_on()

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""

    def _pass_on(self) -> None:
        parts = urlsplit(self.path)
        key = unquote(parts.path.strip("/").partition("/")[2])
        query = parse_qs(parts.query, keep_blank_values=True)
        request = Request(self.command, key, query, self.headers.get("Range"))
        self.proxy.requests.append(request)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.fault_of(request)
        if fault is not None and fault.kind == "status":
            self._say(fault.status, {}, b"")
            return
        if fault is not None and fault.kind == "damage":
            body = bytes([body[0] ^ 1]) + body[1:]
        upstream = http.client.HTTPConnection(self.target, timeout=_NEVER_S)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            answer = upstream.getresponse()
            data = answer.read()
            headers = {name: value for name, value in answer.getheaders() if name.lower() != "connection"}
        except (OSError, http.client.HTTPException):
            self.close_connection = True
            return
        finally:
            upstream.close()
        if fault is not None and fault.kind == "lose":
            self.close_connection = True
            return
        if fault is not None and fault.kind == "lie":
            headers = {**headers, next(n for n in headers if n.lower() == "etag"): '"' + "0" * 32 + '"'}
        self._say(answer.status, headers, data, fault)

    def _say(self, status: int, headers: dict[str, str], data: bytes, fault: Fault | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("transfer-encoding", "content-length"):
                self.send_header(name, value)
        lengths = [value for name, value in headers.items() if name.lower() == "content-length"]
        if self.command == "HEAD":
            self.send_header("Content-Length", lengths[0] if lengths else "0")
        elif status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD" or not data:
            return
        try:
            if fault is None or fault.kind in ("lie", "damage"):
                self.wfile.write(data)
                return
            self.wfile.write(data[: fault.after])
            self.wfile.flush()
            if fault.kind == "stall":
                self.proxy.released.wait(_NEVER_S)
            self.close_connection = True
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
