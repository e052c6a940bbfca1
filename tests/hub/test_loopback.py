"""The loopback Hub is as strict as the tests that rest on it need it to be."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from hub.clients import TOKEN, TOKENS, Client
from hub.loopback import LoopbackHub
from hub.repositories import LARGE, Repository

BOB = next(token for token, user in TOKENS.items() if user == "bob")


def ask(
    hub: LoopbackHub, method: str, path: str, body: Any = None, token: str | None = TOKEN, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(hub.url).netloc, timeout=10)
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection.request(method, re.sub("^http://[^/]*", "", path), content, headers)
    response = connection.getresponse()
    answer = response.status, dict(response.getheaders()), response.read()
    connection.close()
    return answer


def commit_body(**files: str) -> bytes:
    lines: list[dict[str, Any]] = [{"key": "header", "value": {"summary": "change"}}]
    for name, content in files.items():
        encoded = base64.b64encode(content.encode()).decode()
        lines.append({"key": "file", "value": {"path": name, "content": encoded, "encoding": "base64"}})
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@pytest.fixture
def repository(hub: LoopbackHub, request: pytest.FixtureRequest) -> Repository:
    name = request.node.originalname.replace("_", "-")[:60] + str(len(hub.repositories))
    status, _, _ = ask(hub, "POST", "/api/repos/create", {"name": name, "organization": "alice"})
    assert status == 200
    repository = hub.repository("model", f"alice/{name}")
    assert (
        ask(hub, "POST", f"/api/models/{repository.name}/commit/main", commit_body(greeting="hello"))[0]
        == 200
    )
    return repository


WRITES = [
    ("POST", "/api/models/{name}/commit/main"),
    ("POST", "/api/models/{name}/preupload/main"),
    ("POST", "/api/models/{name}/branch/other"),
    ("POST", "/{name}.git/info/lfs/objects/batch"),
    ("POST", "/verify/model/{name}"),
    ("POST", "/api/repos/create"),
]


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_every_write_needs_the_owners_token(
    hub: LoopbackHub, repository: Repository, method: str, path: str
) -> None:
    where = path.format(name=repository.name)
    body = {"name": "new", "organization": "alice"} if "create" in path else commit_body(greeting="changed")
    before = repository.history()
    assert ask(hub, method, where, body, token=None)[0] == 401
    assert ask(hub, method, where, body, token="hf_unknown")[0] == 401
    assert ask(hub, method, where, body, token=BOB)[0] == 403
    assert repository.history() == before and ("model", "alice/new") not in hub.repositories


def test_a_private_repository_looks_absent_to_others(hub: LoopbackHub, repository: Repository) -> None:
    repository.private = True
    for path in (f"/api/models/{repository.name}", f"/{repository.name}/resolve/main/greeting"):
        for token, expected in ((None, 401), (BOB, 404)):
            status, headers, _ = ask(hub, "GET", path, token=token)
            assert (status, headers["X-Error-Code"]) == (expected, "RepoNotFound")
        assert ask(hub, "GET", path)[0] == 200
    repository.private = False
    status, headers, _ = ask(hub, "GET", f"/api/models/{repository.name}", token="hf_unknown")
    assert status == 401 and "Invalid credentials" in headers["X-Error-Message"]


def test_what_is_missing_has_the_hubs_code(hub: LoopbackHub, repository: Repository) -> None:
    for path, code in (
        ("/api/models/alice/nothing-here", "RepoNotFound"),
        (f"/api/datasets/{repository.name}", "RepoNotFound"),
        (f"/api/models/{repository.name}/revision/nowhere", "RevisionNotFound"),
        (f"/{repository.name}/resolve/nowhere/greeting", "RevisionNotFound"),
        (f"/{repository.name}/resolve/main/absent", "EntryNotFound"),
        (f"/api/models/{repository.name}/tree/main/absent", "EntryNotFound"),
    ):
        status, headers, _ = ask(hub, "GET", path)
        assert (status, headers["X-Error-Code"]) == (404, code), path
    assert ask(hub, "HEAD", f"/{repository.name}/resolve/main/absent")[1]["X-Repo-Commit"]


def test_lfs_content_is_what_its_name_says(hub: LoopbackHub, repository: Repository) -> None:
    content = b"weights" * 1000
    oid = hashlib.sha256(content).hexdigest()
    batch = {
        "operation": "upload",
        "hash_algo": "sha256",
        "objects": [{"oid": oid, "size": len(content)}],
    }
    where = f"/{repository.name}.git/info/lfs/objects/batch"
    actions = json.loads(ask(hub, "POST", where, batch)[2])["objects"][0]["actions"]
    upload, verify = actions["upload"]["href"], actions["verify"]["href"]
    pointer = {
        "key": "lfsFile",
        "value": {"path": "w.bin", "algo": "sha256", "oid": oid, "size": len(content)},
    }
    lines = commit_body() + json.dumps(pointer).encode()
    assert ask(hub, "PUT", upload.partition("?")[0], content)[0] == 403  # not signed
    assert ask(hub, "PUT", upload, content[:-1], token=None)[0] == 400
    assert ask(hub, "POST", verify, {"oid": oid, "size": len(content)})[0] == 404
    assert (
        ask(hub, "POST", f"/api/models/{repository.name}/commit/main", lines)[0] == 400
    )  # points to nothing
    assert ask(hub, "PUT", upload, content, token=None)[0] == 200
    assert ask(hub, "POST", verify, {"oid": oid, "size": 5})[0] == 404
    assert ask(hub, "POST", verify, {"oid": oid, "size": len(content)})[0] == 200
    assert "actions" not in json.loads(ask(hub, "POST", where, batch)[2])["objects"][0]
    assert ask(hub, "POST", f"/api/models/{repository.name}/commit/main", lines)[0] == 200
    status, headers, _ = ask(hub, "GET", f"/{repository.name}/resolve/main/w.bin")
    assert (status, headers["X-Linked-Etag"], headers["X-Linked-Size"]) == (
        302,
        f'"{oid}"',
        str(len(content)),
    )
    assert ask(hub, "GET", headers["Location"].partition("?")[0])[0] == 403
    assert ask(hub, "GET", headers["Location"], token=None)[2] == content
    status, part_headers, part = ask(hub, "GET", headers["Location"], Range="bytes=7-20")
    assert (status, part) == (206, content[7:21])
    assert part_headers["Content-Range"] == f"bytes 7-20/{len(content)}"
    assert ask(hub, "GET", headers["Location"], Range="bytes=-3")[2] == content[-3:]
    assert ask(hub, "GET", headers["Location"], Range=f"bytes={len(content)}-")[0] == 416


def test_a_commit_is_whole_or_nothing(hub: LoopbackHub, repository: Repository) -> None:
    where = f"/api/models/{repository.name}/commit/main"
    head = repository.history()[0]
    stale = {"key": "header", "value": {"summary": "late", "parentCommit": repository.history()[1]}}
    assert ask(hub, "POST", where, json.dumps(stale).encode())[0] == 412
    absent = json.dumps({"key": "deletedFile", "value": {"path": "absent"}}).encode()
    assert ask(hub, "POST", where, commit_body(greeting="changed") + absent)[0] == 404
    assert ask(hub, "POST", where, commit_body(**{"../outside": "x"}))[0] == 400
    assert ask(hub, "POST", where, commit_body(large="x" * (LARGE + 1)))[0] == 400
    assert ask(hub, "POST", where, b"".join(commit_body(a="b").splitlines()[1:]))[0] == 400  # no header
    assert ask(hub, "POST", where.replace("main", "nowhere"), commit_body(a="b"))[0] == 404
    assert repository.history()[0] == head and repository.files()["greeting"] == b"hello"


def test_branches_are_apart(hub: LoopbackHub, repository: Repository) -> None:
    where = f"/api/models/{repository.name}"
    assert ask(hub, "POST", f"{where}/branch/v%2F2")[0] == 200
    assert ask(hub, "POST", f"{where}/branch/v%2F2")[0] == 409
    assert ask(hub, "POST", f"{where}/commit/v%2F2", commit_body(greeting="bye"))[0] == 200
    assert (repository.files()["greeting"], repository.files("v/2")["greeting"]) == (b"hello", b"bye")
    for revision, expected in (("v%2F2", b"bye"), (repository.history()[0], b"hello")):
        assert ask(hub, "GET", f"/{repository.name}/resolve/{revision}/greeting")[2] == expected


def test_it_fails_when_told_to(hub: LoopbackHub, repository: Repository) -> None:
    where = f"/{repository.name}/resolve/main/greeting"
    hub.fail("GET", "/resolve/", status=503, times=2)
    assert [ask(hub, "GET", where)[0] for _ in range(3)] == [503, 503, 200]
    hub.drop("GET", "/resolve/")
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        ask(hub, "GET", where)
    hub.drop("POST", "/commit/")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        ask(hub, "POST", f"/api/models/{repository.name}/commit/main", commit_body(greeting="x" * 99))
    assert repository.files()["greeting"] == b"hello"
    hub.slow("GET", "/resolve/", seconds=0.2)
    start = time.monotonic()
    assert ask(hub, "GET", where)[0] == 200 and time.monotonic() - start > 0.2


CLIENT = """
import os, json
from pathlib import Path
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

api = HfApi()
Path("up/sub").mkdir(parents=True)
Path("up/notes.txt").write_text("notes")
Path("up/sub/weights.bin").write_bytes(bytes(range(256)) * 40)
api.create_repo("alice/plain-client", private=True)
api.create_repo("alice/plain-client", exist_ok=True)
first = api.upload_folder(repo_id="alice/plain-client", folder_path="up")
assert api.upload_folder(repo_id="alice/plain-client", folder_path="up").oid == first.oid  # nothing changed
api.create_branch("alice/plain-client", branch="v2")
Path("up/notes.txt").write_text("changed")
api.upload_folder(repo_id="alice/plain-client", folder_path="up", revision="v2", parent_commit=first.oid)
try:
    Path("up/notes.txt").write_text("again")
    api.upload_folder(repo_id="alice/plain-client", folder_path="up", revision="v2", parent_commit=first.oid)
    raise SystemExit("a stale parent was accepted")
except HfHubHTTPError as error:
    assert error.response.status_code == 412
got = {}
for revision in ("main", "v2"):
    folder = Path(snapshot_download("alice/plain-client", revision=revision))
    got[revision] = (folder / "notes.txt").read_text()
    assert (folder / "sub/weights.bin").read_bytes() == Path("up/sub/weights.bin").read_bytes()
assert {branch.name for branch in api.list_repo_refs("alice/plain-client").branches} == {"main", "v2"}
assert len(api.list_repo_commits("alice/plain-client", revision="v2")) == 3
assert api.get_paths_info("alice/plain-client", ["sub/weights.bin"])[0].lfs.size == 256 * 40
for wrong, call in (
    (RepositoryNotFoundError, lambda: api.model_info("alice/plain-client", token=False)),
    (RepositoryNotFoundError, lambda: api.model_info("alice/absent")),
    (RevisionNotFoundError, lambda: api.model_info("alice/plain-client", revision="v3")),
):
    try:
        call()
        raise SystemExit(f"{wrong} was expected")
    except wrong:
        pass
print(json.dumps(got))
"""


@pytest.mark.slow
def test_an_unmodified_client_uploads_and_downloads(hub: LoopbackHub, stranger: Client) -> None:
    hub.drop("PUT", "/lfs/")  # the client tries again
    assert stranger.run(CLIENT) == {"main": "notes", "v2": "changed"}
    assert ("PUT", 0) in {(method, status) for method, _, status in hub.requests}
