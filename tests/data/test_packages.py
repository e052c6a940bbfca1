"""Packages of npm: a content is read only where it is the one that was meant."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from hf_ood.data.packages import NpmPackage


def packed(content: bytes) -> bytes:
    stored = io.BytesIO()
    with tarfile.open(fileobj=stored, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/icons.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return stored.getvalue()


def package(stored: bytes) -> NpmPackage:
    return NpmPackage("@scope/icons", "1.2.3", base64.b64encode(hashlib.sha512(stored).digest()).decode())


def test_the_content_decides(tmp_path: Path) -> None:
    stored = packed(b'{"icons": {}}')
    assert package(stored).file_name == "scope-icons-1.2.3.tgz"
    (tmp_path / "scope-icons-1.2.3.tgz").write_bytes(stored)
    assert package(stored).file(tmp_path).json("icons.json") == {"icons": {}}
    with pytest.raises(ValueError, match=r"is not @scope/icons 1\.2\.3: fetch it with npm pack"):
        package(packed(b"{}")).file(tmp_path)


def test_a_machine_without_npm_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ConnectionError, match=r"npm pack @scope/icons@1\.2\.3 needs npm, which is not installed"
    ):
        package(b"").file(tmp_path)
