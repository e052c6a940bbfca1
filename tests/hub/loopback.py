"""A strict Hub on 127.0.0.1: the routes that today's clients call, over repositories in memory.

It asks for tokens, verifies SHA-256, refuses conflicts, answers errors with the Hub's codes, and fails
on demand: `hub.fail("PUT", "/lfs/", 500, times=2)`, `hub.drop("POST", "/commit/")`,
`hub.slow("GET", "/cdn/", 1.0)`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .repositories import Refused, Repository
from .routes import ROUTES, Answer, Request

SECRET = b"signs the addresses of uploads and downloads, as the storage behind the Hub does"


@dataclass
class Fault:
    """What goes wrong on requests of `method` whose path contains `route`, `times` times."""

    method: str
    route: str
    times: int
    status: int = 0  # answered instead
    drop: bool = False  # the connection breaks in the middle of the body
    seconds: float = 0.0  # waited before the answer
    headers: dict[str, str] = field(default_factory=dict)  # of the answer
    lost: bool = False  # the request is carried out, and its answer never comes


@dataclass
class LoopbackHub:
    """`tokens`: token -> user, who writes to their own namespace only. `received`: every body, in order."""

    tokens: dict[str, str]
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    received: list[bytes] = field(default_factory=list)
    requests: list[tuple[str, str, int]] = field(default_factory=list)  # method, path, status (0: dropped)
    faults: list[Fault] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        # Large files lie on another host, to which clients do not send their token.
        self.storage_url = f"http://localhost:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def fail(self, method: str, route: str, status: int = 500, times: int = 1) -> None:
        self.faults.append(Fault(method, route, times, status=status))

    def drop(self, method: str, route: str, times: int = 1) -> None:
        self.faults.append(Fault(method, route, times, drop=True))

    def limit(self, method: str, route: str, retry_after: int, times: int = 1) -> None:
        headers = {"Retry-After": str(retry_after)}
        self.faults.append(Fault(method, route, times, status=429, headers=headers))

    def lose_answer(self, method: str, route: str, times: int = 1) -> None:
        self.faults.append(Fault(method, route, times, lost=True))

    def slow(self, method: str, route: str, seconds: float, times: int = 1) -> None:
        self.faults.append(Fault(method, route, times, seconds=seconds))

    def take_fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method == method and fault.route in path:
                    fault.times -= 1
                    return fault
        return None

    def repository(self, kind: str, name: str) -> Repository:
        return self.repositories[kind, name]

    def signature(self, what: str) -> str:
        return hmac.new(SECRET, what.encode(), hashlib.sha256).hexdigest()


def _handler(hub: LoopbackHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self.serve()

        do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

        def serve(self) -> None:
            fault = hub.take_fault(self.command, self.path) or Fault("", "", 0)
            time.sleep(fault.seconds)
            has_body = "Transfer-Encoding" in self.headers or int(self.headers.get("Content-Length") or 0) > 0
            body = b"".join(self.body_chunks(cut=fault.drop))
            if fault.drop and has_body:
                return self.hang_up()
            with hub.lock:
                hub.received.append(body)
                try:
                    answer = (
                        Answer({"error": "It was told to fail"}, fault.status, fault.headers)
                        if fault.status
                        else self.answer(body)
                    )
                except Refused as error:
                    headers = {"X-Error-Message": error.message}
                    if error.code:
                        headers["X-Error-Code"] = error.code
                    answer = Answer({"error": error.message, **error.body}, error.status, headers)
            if fault.lost:
                return self.hang_up()
            self.send(answer, cut=fault.drop)

        def body_chunks(self, cut: bool) -> Iterator[bytes]:
            """The request's body; only its first half if the connection is to break."""
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                while (size := int(self.rfile.readline().split(b";")[0], 16)) and not cut:
                    yield self.rfile.read(size)
                    self.rfile.readline()
                if not cut:
                    self.rfile.readline()
            else:
                length = int(self.headers.get("Content-Length") or 0)
                yield self.rfile.read(length // 2 if cut else length)

        def user(self) -> str | None:
            """Who asks. A token that is not known is refused everywhere, also where none is needed."""
            authorization = self.headers.get("Authorization")
            if authorization is None:
                return None
            scheme, _, token = authorization.partition(" ")
            if scheme != "Bearer" or token not in hub.tokens:
                raise Refused(401, "", "Invalid credentials in Authorization header")
            return hub.tokens[token]

        def answer(self, body: bytes) -> Answer:
            address = urlsplit(self.path)
            method = "GET" if self.command == "HEAD" else self.command
            user = self.user()
            for routed, pattern, function in ROUTES:
                match = pattern.match(address.path)
                if routed == method and match:
                    query = {name: values[-1] for name, values in parse_qs(address.query).items()}
                    return function(Request(hub, user, match.groupdict(), query, body))
            raise Refused(404, "", f"No route {self.command} {address.path}")

        def send(self, answer: Answer, cut: bool) -> None:
            content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            status, headers = answer.status, dict(answer.headers)
            asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
            if status == 200 and isinstance(answer.body, bytes):
                headers["Accept-Ranges"] = "bytes"
                if asked and any(asked.groups()):
                    status, content = self.part(content, asked[1], asked[2], headers)
            hub.requests.append((self.command, self.path, 0 if cut else status))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            if isinstance(answer.body, (dict, list)):
                self.send_header("Content-Type", "application/json; charset=utf-8")
            self.end_headers()
            if self.command != "HEAD":
                with suppress(BrokenPipeError, ConnectionResetError):  # a client may leave
                    self.wfile.write(content[: len(content) // 2] if cut else content)
            if cut:
                self.hang_up(noted=True)

        def part(self, content: bytes, first: str, last: str, headers: dict[str, str]) -> tuple[int, bytes]:
            """`bytes=2-5`, `bytes=2-`, `bytes=-5`."""
            size = len(content)
            start = int(first) if first else max(size - int(last), 0)
            stop = min(int(last) + 1, size) if first and last else size
            if start >= size or start >= stop:
                headers["Content-Range"] = f"bytes */{size}"
                return 416, b""
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
            return 206, content[start:stop]

        def hang_up(self, noted: bool = False) -> None:
            if not noted:
                hub.requests.append((self.command, self.path, 0))
            self.close_connection = True
            self.wfile.flush()
            # A reset, as a cable that is pulled looks from the other end once it is noticed.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    return Handler
