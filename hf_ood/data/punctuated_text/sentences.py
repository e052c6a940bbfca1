"""Where the rated sentences come from."""

from __future__ import annotations

import hashlib
import html
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pandas

PACKAGE = "vaderSentiment==3.3.2"
FETCH = f"pip download --no-deps --no-binary :all: {PACKAGE}"
ARCHIVE_SHA256 = "d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa"
SOURCES = {
    "films": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "editorials": "nytEditorialSnippets",
    "tweets": "tweets",
}


def read_rated_sentences(package: Path) -> pandas.DataFrame:
    """`text`, `rating` (-4 to 4) and `source` of all sentences, from the package's `.tar.gz`.

    Raises `ValueError` when that does not hold the archive that this was written for, `FileNotFoundError`
    when there is none.
    """
    if not package.is_file():
        raise FileNotFoundError(f"There is no file {package}: fetch it with {FETCH}.")
    try:
        with tarfile.open(package) as outer:
            inner = next(
                (name for name in outer.getnames() if name.endswith("hutto_ICWSM_2014.tar.gz")), None
            )
            member = outer.extractfile(inner) if inner else None
            content = member.read() if member else b""
    except (tarfile.TarError, EOFError):
        content = b""
    if hashlib.sha256(content).hexdigest() != ARCHIVE_SHA256:
        raise ValueError(f"{package} is not the source distribution of {PACKAGE}: fetch it with {FETCH}.")
    tables = []
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for source, name in SOURCES.items():
            file = archive.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
            assert file is not None
            rows = [line.split("\t") for line in file.read().decode().splitlines() if line.strip()]
            texts = [html.unescape(text).strip() for _, _, text in rows]
            ratings = [float(rating) for _, rating, _ in rows]
            tables.append(pandas.DataFrame({"text": texts, "rating": ratings, "source": source}))
    return pandas.concat(tables, ignore_index=True).drop_duplicates("text", ignore_index=True)


def fetch_package(folder: Path) -> Path:
    """The package's source distribution, from the package index, by pip. Raises `ConnectionError`."""
    command = [sys.executable, "-m", *FETCH.split(), "--dest", str(folder)]
    finished = subprocess.run(command, capture_output=True, text=True)
    found = list(folder.glob("*.tar.gz"))
    if finished.returncode or not found:
        raise ConnectionError(f"{FETCH} failed: {finished.stderr.strip()[-500:]}")
    return found[0]
