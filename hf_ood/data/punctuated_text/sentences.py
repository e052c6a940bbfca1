"""Where the rated sentences come from."""

from __future__ import annotations

import hashlib
import html
import io
import tarfile
from pathlib import Path

import pandas

from ..packages import FROM_SOURCE, fetch_from_pypi, pip_download

PACKAGE = "vaderSentiment==3.3.2"
FETCH = " ".join(pip_download(PACKAGE, *FROM_SOURCE))
ARCHIVE_SHA256 = "d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa"
SOURCES = {
    "films": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "editorials": "nytEditorialSnippets",
    "tweets": "tweets",
}


def read_rated_sentences(package: Path) -> pandas.DataFrame:
    """`text`, `rating` (-4 to 4), `source` and `document` of all sentences, from the package's `.tar.gz`.

    `document`: the product review or editorial that a sentence is from, a string of `source` and number. A
    sentence about a film is one of its own, since the package does not say which review it is from.

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
            documents = [f"{source}-{number.partition('_')[0]}" for number, _, _ in rows]
            texts = [html.unescape(text).strip() for _, _, text in rows]
            ratings = [float(rating) for _, rating, _ in rows]
            tables.append(
                pandas.DataFrame({"text": texts, "rating": ratings, "source": source, "document": documents})
            )
    return pandas.concat(tables, ignore_index=True).drop_duplicates("text", ignore_index=True)


def fetch_package(folder: Path) -> Path:
    """The package's source distribution, from the package index, by pip. Raises `ConnectionError`."""
    return fetch_from_pypi(PACKAGE, folder, *FROM_SOURCE)
