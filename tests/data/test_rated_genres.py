"""Rated sentences by genre: all that a document says is in one split."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pandas as pd
import pytest
from datasets import load_dataset

from hf_ood.data.punctuated_text import SOURCES, fetch_package, read_rated_sentences
from hf_ood.data.punctuated_text import sentences as rated_sentences
from hf_ood.data.rated_genres import rated_genres, write_rated_genres


def sentences(documents: int = 300) -> pd.DataFrame:
    rows = [
        {
            "text": f"{source} {document} {sentence}",
            "rating": [2.0, -1.5, 0.4][sentence % 3],
            "source": source,
            "document": f"{source}-{document}",
        }
        for source in SOURCES
        for document in range(documents)
        for sentence in range(6)
    ]
    return pd.DataFrame(rows)


def test_a_document_stays_together_and_unclear_sentences_are_left_out() -> None:
    built = rated_genres(sentences())
    homes = {split: set(data["document"]) for split, data in built.items()}
    assert not homes["train"] & homes["test"] and not homes["train"] & homes["validation"]
    assert sum(map(len, built.values())) == 4 * 300 * 4
    for data in built.values():
        assert all((rating > 0) == label for rating, label in zip(data["rating"], data["label"], strict=True))
        assert set(data["environment"]) == {0, 1, 2, 3}
    assert 0.64 < len(built["train"]) / 4800 < 0.76


def test_documents_are_read_from_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as archive:
        for source, name in SOURCES.items():
            numbers = ["1_1", "1_2", "2_1"] if source in ("products", "editorials") else ["1", "2", "3"]
            content = "\n".join(f"{number}\t1.5\t{source} {number}" for number in numbers).encode()
            member = tarfile.TarInfo(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with tarfile.open(tmp_path / "package.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("v/hutto_ICWSM_2014.tar.gz")
        member.size = len(inner.getvalue())
        archive.addfile(member, io.BytesIO(inner.getvalue()))
    monkeypatch.setattr(rated_sentences, "ARCHIVE_SHA256", hashlib.sha256(inner.getvalue()).hexdigest())
    read = read_rated_sentences(tmp_path / "package.tar.gz")
    found = read.groupby("source").document.nunique().to_dict()
    assert found == {"films": 3, "tweets": 3, "products": 2, "editorials": 2}


def test_another_configuration_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Unknown configuration 'genres'"):
        write_rated_genres(tmp_path / "built", ["genres"])


@pytest.mark.nightly
def test_the_whole_from_the_package_index(tmp_path: Path) -> None:
    package = fetch_package(tmp_path)
    folder = write_rated_genres(tmp_path / "built", package=str(package))
    built = load_dataset(str(folder))
    assert sum(map(len, built.values())) == 19_409
    documents = [set(data["document"]) for data in built.values()]
    assert not documents[0] & documents[1] and not documents[0] & documents[2]
