"""The routes of the loopback Hub: what today's clients ask, and the answers that the Hub gives."""

from __future__ import annotations

import hmac
import json
import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from .repositories import Refused, Repository, entry

if TYPE_CHECKING:
    from .loopback import LoopbackHub

KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
REPO = r"(?P<repo>[\w.-]+/[\w.-]+?)"
API = rf"/api/(?P<kind>models|datasets|spaces)/{REPO}"
PLAIN = rf"/(?:(?P<kind>datasets|spaces)/)?{REPO}"


@dataclass
class Answer:
    body: Any = None  # bytes as they are, anything else as JSON
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Route = Callable[["Request"], Answer]
ROUTES: list[tuple[str, re.Pattern[str], Route]] = []


def route(method: str, pattern: str) -> Callable[[Route], Route]:
    def register(function: Route) -> Route:
        ROUTES.append((method, re.compile(pattern + "$"), function))
        return function

    return register


@dataclass
class Request:
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
def whoami(request: Request) -> Answer:
    if request.user is None:
        raise Refused(401, "", "Invalid username or password.")
    return Answer({"type": "user", "name": request.user, "orgs": [], "auth": {}})


@route("POST", "/api/validate-yaml")
def validate_yaml(request: Request) -> Answer:
    """The standard library has no YAML parser: only that the metadata block is closed."""
    content = request.json["content"]
    closed = re.match(r"---\s*\n.*?\n---\s*(\n|$)", content, re.S)
    errors = (
        [] if closed or not content.startswith("---") else [{"message": "The metadata block is not closed"}]
    )
    return Answer({"errors": errors, "warnings": []}, status=400 if errors else 200)


@route("POST", "/api/repos/create")
def create_repo(request: Request) -> Answer:
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
def preupload(request: Request) -> Answer:
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
def lfs_batch(request: Request) -> Answer:
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
def lfs_put(request: Request) -> Answer:
    found = request.found
    request.require_signature(f"/lfs/{found['type']}/{found['repo']}/{found['oid']}")
    request.hub.repositories[found["type"], found["repo"]].store_lfs(found["oid"], request.body)
    return Answer(b"", headers={"ETag": f'"{found["oid"]}"'})


@route("POST", rf"/verify/(?P<type>model|dataset|space)/{REPO}")
def lfs_verify(request: Request) -> Answer:
    request.require_user(request.found["repo"].partition("/")[0])
    stored = request.hub.repositories[request.found["type"], request.found["repo"]].lfs
    content = stored.get(request.json["oid"])
    if content is None or len(content) != request.json["size"]:
        raise Refused(404, "", "The object was not uploaded")
    return Answer({})


@route("POST", f"{API}/commit/(?P<revision>[^/]+)")
def commit(request: Request) -> Answer:
    repository = request.writable()
    lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
    oid = repository.commit(unquote(request.found["revision"]), lines)
    url = f"{request.hub.url}/{request.found['kind']}/{repository.name}/commit/{oid}"
    return Answer({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})


@route("POST", f"{API}/branch/(?P<branch>[^/]+)")
def create_branch(request: Request) -> Answer:
    request.writable().create_branch(
        unquote(request.found["branch"]), request.json.get("startingPoint", "main")
    )
    return Answer({})


@route("GET", f"{API}/refs")
def refs(request: Request) -> Answer:
    branches = [
        {"name": name, "ref": f"refs/heads/{name}", "targetCommit": oid}
        for name, oid in request.readable().branches.items()
    ]
    return Answer({"branches": branches, "tags": [], "converts": []})


@route("GET", f"{API}/commits/(?P<revision>[^/]+)")
def commits(request: Request) -> Answer:
    repository = request.readable()
    day = "2020-01-01T00:00:00.000Z"
    return Answer(
        [
            {"id": oid, "title": repository.commits[oid].summary, "message": "", "authors": [], "date": day}
            for oid in repository.history(unquote(request.found["revision"]))
        ]
    )


@route("GET", f"{API}(?:/revision/(?P<revision>[^/]+))?")
def info(request: Request) -> Answer:
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
def tree(request: Request) -> Answer:
    revision, path = unquote(request.found["revision"]), unquote(request.found["path"] or "")
    recursive = request.query.get("recursive", "").lower() == "true"
    return Answer(request.readable().entries(revision, path, recursive))


@route("POST", f"{API}/paths-info/(?P<revision>[^/]+)")
def paths_info(request: Request) -> Answer:
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
def resolve(request: Request) -> Answer:
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
def cdn(request: Request) -> Answer:
    found = request.found
    request.require_signature(f"/cdn/{found['type']}/{found['repo']}/{found['oid']}")
    content = request.hub.repositories[found["type"], found["repo"]].lfs[found["oid"]]
    return Answer(content, headers={"ETag": f'"{found["oid"]}"'})
