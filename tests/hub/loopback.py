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
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .repositories import Refused, Repository, entry

KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
REPO = r"(?P<repo>[\w.-]+/[\w.-]+?)"
API = rf"/api/(?P<kind>models|datasets|spaces)/{REPO}"
PLAIN = rf"/(?:(?P<kind>datasets|spaces)/)?{REPO}"
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


@dataclass
class Answer:
    body: Any = None  # bytes as they are, anything else as JSON
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Route = Callable[["_Request"], Answer]
ROUTES: list[tuple[str, re.Pattern[str], Route]] = []


def route(method: str, pattern: str) -> Callable[[Route], Route]:
    def register(function: Route) -> Route:
        ROUTES.append((method, re.compile(pattern + "$"), function))
        return function

    return register


@dataclass
class _Request:
    hub: LoopbackHub
    user: str | None
    found: dict[str, str]  # what the pattern's groups matched
    query: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"{}")

    @property
    def kind(self) -> str:
        return KINDS[self.found["kind"] or "models"]

    def readable(self) -> Repository:
        """The repository asked for. Without a token, a private one looks just as one that does not exist."""
        repository = self.hub.repositories.get((self.kind, self.found["repo"]))
        owner = self.found["repo"].partition("/")[0]
        if repository is None or (repository.private and self.user != owner):
            status = 404 if self.user else 401
            raise Refused(status, "RepoNotFound", "Repository not found")
        return repository

    def writable(self) -> Repository:
        self.require_user(self.found["repo"].partition("/")[0])
        return self.readable()

    def require_user(self, owner: str) -> None:
        if self.user is None:
            raise Refused(401, "", "Invalid username or password.")
        if self.user != owner:
            raise Refused(403, "", f"You don't have the rights to write to the namespace {owner}")

    def require_signature(self, what: str) -> None:
        if not hmac.compare_digest(self.query.get("signature", ""), self.hub.signature(what)):
            raise Refused(403, "", "Signature does not match")


@route("GET", "/api/whoami-v2")
def whoami(request: _Request) -> Answer:
    if request.user is None:
        raise Refused(401, "", "Invalid username or password.")
    return Answer({"type": "user", "name": request.user, "orgs": [], "auth": {}})


@route("POST", "/api/validate-yaml")
def validate_yaml(request: _Request) -> Answer:
    """The standard library has no YAML parser: only that the metadata block is closed."""
    content = request.json["content"]
    closed = re.match(r"---\s*\n.*?\n---\s*(\n|$)", content, re.S)
    errors = (
        [] if closed or not content.startswith("---") else [{"message": "The metadata block is not closed"}]
    )
    return Answer({"errors": errors, "warnings": []}, status=400 if errors else 200)


@route("POST", "/api/repos/create")
def create_repo(request: _Request) -> Answer:
    wanted = request.json
    owner = wanted.get("organization") or request.user or ""
    request.require_user(owner)
    kind, name = wanted.get("type") or "model", f"{owner}/{wanted['name']}"
    url = f"{request.hub.url}/{'' if kind == 'model' else kind + 's/'}{name}"
    if (kind, name) in request.hub.repositories:
        raise Refused(409, "", f"You already created this {kind} repo", url=url)
    private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
    request.hub.repositories[kind, name] = Repository(kind, name, private)
    return Answer({"url": url, "name": name})


@route("POST", f"{API}/preupload/(?P<revision>[^/]+)")
def preupload(request: _Request) -> Answer:
    repository = request.writable()
    tree = repository.commits[repository.resolve(unquote(request.found["revision"]))].tree
    files = [
        {
            "path": file["path"],
            "uploadMode": repository.upload_mode(file["path"], file["size"], b64decode(file["sample"])),
            "shouldIgnore": False,
            "oid": tree[file["path"]].etag if file["path"] in tree else None,
        }
        for file in request.json["files"]
    ]
    return Answer({"files": files})


@route("POST", rf"{PLAIN}\.git/info/lfs/objects/batch")
def lfs_batch(request: _Request) -> Answer:
    repository, hub = request.writable(), request.hub
    wanted = request.json
    if wanted["operation"] != "upload" or wanted.get("hash_algo") != "sha256":
        raise Refused(400, "", "Only uploads by sha256 are served")
    objects = []
    for item in wanted["objects"]:
        described = {"oid": item["oid"], "size": item["size"]}
        if item["oid"] not in repository.lfs:
            where = f"/lfs/{repository.kind}/{repository.name}/{item['oid']}"
            described["actions"] = {
                "upload": {
                    "href": f"{hub.storage_url}{where}?signature={hub.signature(where)}",
                    "header": {},
                },
                "verify": {"href": f"{hub.url}/verify/{repository.kind}/{repository.name}"},
            }
        objects.append(described)
    return Answer({"transfer": "basic", "objects": objects})


@route("PUT", rf"/lfs/(?P<type>model|dataset|space)/{REPO}/(?P<oid>[0-9a-f]{{64}})")
def lfs_put(request: _Request) -> Answer:
    found = request.found
    request.require_signature(f"/lfs/{found['type']}/{found['repo']}/{found['oid']}")
    request.hub.repositories[found["type"], found["repo"]].store_lfs(found["oid"], request.body)
    return Answer(b"", headers={"ETag": f'"{found["oid"]}"'})


@route("POST", rf"/verify/(?P<type>model|dataset|space)/{REPO}")
def lfs_verify(request: _Request) -> Answer:
    request.require_user(request.found["repo"].partition("/")[0])
    stored = request.hub.repositories[request.found["type"], request.found["repo"]].lfs
    content = stored.get(request.json["oid"])
    if content is None or len(content) != request.json["size"]:
        raise Refused(404, "", "The object was not uploaded")
    return Answer({})


@route("POST", f"{API}/commit/(?P<revision>[^/]+)")
def commit(request: _Request) -> Answer:
    repository = request.writable()
    lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
    oid = repository.commit(unquote(request.found["revision"]), lines)
    url = f"{request.hub.url}/{request.found['kind']}/{repository.name}/commit/{oid}"
    return Answer({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})


@route("POST", f"{API}/branch/(?P<branch>[^/]+)")
def create_branch(request: _Request) -> Answer:
    request.writable().create_branch(
        unquote(request.found["branch"]), request.json.get("startingPoint", "main")
    )
    return Answer({})


@route("GET", f"{API}/refs")
def refs(request: _Request) -> Answer:
    branches = [
        {"name": name, "ref": f"refs/heads/{name}", "targetCommit": oid}
        for name, oid in request.readable().branches.items()
    ]
    return Answer({"branches": branches, "tags": [], "converts": []})


@route("GET", f"{API}/commits/(?P<revision>[^/]+)")
def commits(request: _Request) -> Answer:
    repository = request.readable()
    day = "2020-01-01T00:00:00.000Z"
    return Answer(
        [
            {"id": oid, "title": repository.commits[oid].summary, "message": "", "authors": [], "date": day}
            for oid in repository.history(unquote(request.found["revision"]))
        ]
    )


@route("GET", f"{API}(?:/revision/(?P<revision>[^/]+))?")
def info(request: _Request) -> Answer:
    repository = request.readable()
    oid = repository.resolve(unquote(request.found["revision"] or "main"))
    return Answer(
        {
            "id": repository.name,
            "sha": oid,
            "private": repository.private,
            "disabled": False,
            "gated": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": [{"rfilename": path} for path in repository.commits[oid].tree],
        }
    )


@route("GET", f"{API}/tree/(?P<revision>[^/]+)(?:/(?P<path>.*))?")
def tree(request: _Request) -> Answer:
    revision, path = unquote(request.found["revision"]), unquote(request.found["path"] or "")
    recursive = request.query.get("recursive", "").lower() == "true"
    return Answer(request.readable().entries(revision, path, recursive))


@route("POST", f"{API}/paths-info/(?P<revision>[^/]+)")
def paths_info(request: _Request) -> Answer:
    repository = request.readable()
    revision = unquote(request.found["revision"])
    found = repository.commits[repository.resolve(revision)].tree
    everything = {item["path"]: item for item in repository.entries(revision, "", recursive=True)}
    wanted = (
        request.json["paths"]
        if request.body.startswith(b"{")
        else parse_qs(request.body.decode()).get("paths", [])
    )
    return Answer(
        [
            entry(path, found[path]) if path in found else everything[path]
            for path in wanted
            if path in everything
        ]
    )


@route("GET", f"{PLAIN}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
def resolve(request: _Request) -> Answer:
    repository = request.readable()
    revision, path = unquote(request.found["revision"]), unquote(request.found["path"])
    headers = {"X-Repo-Commit": repository.resolve(revision)}
    try:
        file = repository.file(revision, path)
    except Refused as error:
        body = {"error": error.message}
        return Answer(body, 404, {**headers, "X-Error-Code": error.code, "X-Error-Message": error.message})
    if not file.lfs:
        return Answer(file.content, headers={**headers, "ETag": f'"{file.etag}"'})
    where = f"/cdn/{repository.kind}/{repository.name}/{file.sha256}"
    headers |= {
        "Location": f"{request.hub.storage_url}{where}?signature={request.hub.signature(where)}",
        "X-Linked-Etag": f'"{file.sha256}"',
        "X-Linked-Size": str(len(file.content)),
    }
    return Answer(b"", 302, headers)


@route("GET", rf"/cdn/(?P<type>model|dataset|space)/{REPO}/(?P<oid>[0-9a-f]{{64}})")
def cdn(request: _Request) -> Answer:
    found = request.found
    request.require_signature(f"/cdn/{found['type']}/{found['repo']}/{found['oid']}")
    content = request.hub.repositories[found["type"], found["repo"]].lfs[found["oid"]]
    return Answer(content, headers={"ETag": f'"{found["oid"]}"'})


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
                        Answer({"error": "It was told to fail"}, fault.status)
                        if fault.status
                        else self.answer(body)
                    )
                except Refused as error:
                    headers = {"X-Error-Message": error.message}
                    if error.code:
                        headers["X-Error-Code"] = error.code
                    answer = Answer({"error": error.message, **error.body}, error.status, headers)
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
                    return function(_Request(hub, user, match.groupdict(), query, body))
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
