"""Repositories in memory: what a Hub knows and what it refuses, without HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

LARGE = 10 * 1024**2  # bytes; a larger file may not be committed as a regular one
LFS_SUFFIXES = {".parquet", ".safetensors", ".bin", ".arrow", ".png", ".jpg", ".pt", ".zip"}
GITATTRIBUTES = "".join(
    f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in sorted(LFS_SUFFIXES)
).encode()


class Refused(Exception):
    """An answer other than success: HTTP status, the Hub's `X-Error-Code` (or ""), message."""

    def __init__(self, status: int, code: str, message: str, **body: Any):
        super().__init__(message)
        self.status, self.code, self.message, self.body = status, code, message, body


@dataclass(frozen=True)
class File:
    content: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What git itself stores of an LFS file."""
        size = len(self.content)
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {size}\n".encode()

    @property
    def git_oid(self) -> str:
        stored = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git_oid


@dataclass(frozen=True)
class Commit:
    tree: dict[str, File]
    parent: str | None
    summary: str

    @property
    def oid(self) -> str:
        listing = [
            sorted((path, file.git_oid) for path, file in self.tree.items()),
            self.parent,
            self.summary,
        ]
        return hashlib.sha1(json.dumps(listing).encode()).hexdigest()


@dataclass
class Repository:
    """`kind`: model, dataset or space. `lfs`: the objects uploaded to this repository, by SHA-256."""

    kind: str
    name: str
    private: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    lfs: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._append("main", {".gitattributes": File(GITATTRIBUTES, lfs=False)}, None, "initial commit")

    def _append(self, branch: str, tree: dict[str, File], parent: str | None, summary: str) -> str:
        commit = Commit(tree, parent, summary)
        self.commits[commit.oid] = commit
        self.branches[branch] = commit.oid
        return commit.oid

    def resolve(self, revision: str) -> str:
        oid = self.branches.get(revision, revision)
        if oid not in self.commits:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return oid

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """Path -> content, for tests to look at."""
        return {path: file.content for path, file in self.commits[self.resolve(revision)].tree.items()}

    def history(self, revision: str = "main") -> list[str]:
        """Commit ids, the newest first."""
        oid: str | None = self.resolve(revision)
        found = []
        while oid is not None:
            found.append(oid)
            oid = self.commits[oid].parent
        return found

    def create_branch(self, name: str, start: str) -> None:
        if name in self.branches:
            raise Refused(409, "", f"Reference already exists: {name}")
        self.branches[name] = self.resolve(start)

    def upload_mode(self, path: str, size: int, sample: bytes) -> str:
        if size and (PurePosixPath(path).suffix in LFS_SUFFIXES or size > LARGE or b"\0" in sample):
            return "lfs"
        return "regular"

    def store_lfs(self, oid: str, content: bytes) -> None:
        found = hashlib.sha256(content).hexdigest()
        if found != oid:
            raise Refused(400, "", f"The content's SHA-256 is {found}, not {oid}")
        self.lfs[oid] = content

    def commit(self, branch: str, lines: list[dict[str, Any]]) -> str:
        """Apply a commit's lines in order, all or none; returns the new commit's id."""
        if branch not in self.branches:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {branch}")
        head = self.branches[branch]
        header = lines[0]["value"] if lines and lines[0]["key"] == "header" else {}
        if not header.get("summary"):
            raise Refused(400, "", "A commit begins with a header that has a summary")
        if header.get("parentCommit", head) != head:
            raise Refused(412, "", "A commit has happened since. Please refresh and try again.")
        tree = dict(self.commits[head].tree)
        for line in lines[1:]:
            self._apply(tree, line["key"], line["value"])
        return self._append(branch, tree, head, header["summary"])

    def _apply(self, tree: dict[str, File], key: str, value: dict[str, Any]) -> None:
        path = value["path"]
        if path.startswith("/") or ".." in PurePosixPath(path).parts:
            raise Refused(400, "", f"Invalid path: {path}")
        match key:
            case "file":
                content = base64.b64decode(value["content"], validate=True)
                if len(content) > LARGE:
                    raise Refused(400, "", f"{path} is too large to be committed without LFS")
                tree[path] = File(content, lfs=False)
            case "lfsFile":
                if value["algo"] != "sha256" or value["oid"] not in self.lfs:
                    raise Refused(400, "", f"LFS pointer of {path} points to a file that does not exist")
                tree[path] = File(self.lfs[value["oid"]], lfs=True)
            case "deletedFile" | "deletedFolder":
                folder = path.rstrip("/") + "/"
                gone = [name for name in tree if name == path or name.startswith(folder)]
                if not gone:
                    raise Refused(404, "EntryNotFound", f"A file with this name doesn't exist: {path}")
                for name in gone:
                    del tree[name]
            case _:
                raise Refused(400, "", f"Unknown operation {key}")

    def file(self, revision: str, path: str) -> File:
        found = self.commits[self.resolve(revision)].tree.get(path)
        if found is None:
            raise Refused(404, "EntryNotFound", "Entry not found")
        return found

    def entries(self, revision: str, folder: str, recursive: bool) -> list[dict[str, Any]]:
        """Files and directories below a folder ("" is the root), as the tree route lists them."""
        tree = self.commits[self.resolve(revision)].tree
        prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
        below = {path: file for path, file in tree.items() if path.startswith(prefix)}
        if prefix and not below:
            raise Refused(404, "EntryNotFound", f"{folder} does not exist on {revision}")
        found = {}
        for path, file in sorted(below.items()):
            parts = path.removeprefix(prefix).split("/")
            for depth in range(1, len(parts)):
                if recursive or depth == 1:
                    name = prefix + "/".join(parts[:depth])
                    found[name] = {"type": "directory", "oid": "0" * 40, "size": 0, "path": name}
            if recursive or len(parts) == 1:
                found[path] = entry(path, file)
        return list(found.values())


def entry(path: str, file: File) -> dict[str, Any]:
    described = {"type": "file", "oid": file.git_oid, "size": len(file.content), "path": path}
    if file.lfs:
        described["lfs"] = {
            "oid": file.sha256,
            "size": len(file.content),
            "pointerSize": len(file.pointer),
        }
    return described
