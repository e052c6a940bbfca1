"""Rated sentences: the shortcut agrees with the label as often as it says, and the words stay."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pandas
import pytest
from datasets import load_dataset

from hf_ood.cli.datasets import main as datasets_command
from hf_ood.data.punctuated_text import (
    SOURCES,
    Shift,
    punctuation_shortcut,
    read_rated_sentences,
    write_punctuated_text,
)
from hf_ood.data.punctuated_text import sentences as rated_sentences


def sentences(rows: int = 4000) -> pandas.DataFrame:
    texts = [f"{'good' if i % 2 else 'bad'} film {i}{['.', '!', ' ...', ''][i % 4]}" for i in range(rows)]
    ratings = [(1 if i % 2 else -1) * (0.2 if i % 10 == 0 else 2.0) for i in range(rows)]
    return pandas.DataFrame({"text": texts, "rating": ratings, "source": "films"})


def test_the_mark_agrees_as_often_as_the_environment_says() -> None:
    built = punctuation_shortcut(sentences(), Shift())
    assert {split: len(data) for split, data in built.items()} == {"train": 2880, "test": 720}
    names = built["train"].features["environment"].names
    seen = set()
    for data in built.values():
        environments, labels, marks = (np.array(data[name]) for name in ("environment", "label", "mark"))
        for environment in np.unique(environments):
            here = environments == environment
            expected = float(names[environment].removeprefix("correlation_"))
            assert (marks == labels)[here].mean() == pytest.approx(expected, abs=0.05)
            words = np.array([text.startswith("good") for text in data["text"]])
            assert (words == labels)[here].mean() == pytest.approx(0.75, abs=0.05)
        seen |= set(data["text"])
        assert all(
            text[-1] == ".!"[mark] and text[-2].isdigit()
            for text, mark in zip(data["text"], marks, strict=True)
        )
    assert len(seen) == 3600  # each sentence once, those without a clear rating left out


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small source distribution, laid out as the real one."""

    def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))

    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as archive:
        for source, name in SOURCES.items():
            lines = [f"{i}\t{(-1) ** i * 2.5}\t{source} &amp; text {i}!" for i in range(20)]
            add(archive, f"hutto_ICWSM_2014/{name}_GroundTruth.txt", "\n".join(lines).encode())
    with tarfile.open(tmp_path / "package.tar.gz", "w:gz") as archive:
        add(archive, "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz", inner.getvalue())
    return tmp_path / "package.tar.gz"


def test_another_package_is_refused(package: Path) -> None:
    with pytest.raises(ValueError, match=r"not the source distribution of vaderSentiment==3\.3\.2: fetch it"):
        read_rated_sentences(package)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.tar.gz").write_bytes(b"\x1f\x8b\x08\x00 cut")
    with pytest.raises(ValueError, match="not the source distribution"):
        read_rated_sentences(tmp_path / "cut.tar.gz")
    with pytest.raises(FileNotFoundError, match=r"There is no file .*gone\.tar\.gz: fetch it with pip"):
        read_rated_sentences(tmp_path / "gone.tar.gz")


def test_both_configurations_are_loaded(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(package) as archive:
        (member,) = archive.getmembers()
        content = archive.extractfile(member)
        assert content is not None
        digest = hashlib.sha256(content.read()).hexdigest()
    monkeypatch.setattr(rated_sentences, "ARCHIVE_SHA256", digest)
    folder = tmp_path / "built"
    datasets_command(["--dataset", "punctuated_text", "--package", str(package), "--output_dir", str(folder)])
    by_source = load_dataset(str(folder), "sources")["train"]
    assert by_source.features["environment"].names == list(SOURCES) and len(by_source) == 80
    assert by_source[0] == {"text": "films & text 0!", "label": 1, "environment": 0}
    assert set(load_dataset(str(folder), "punctuation_shortcut")) == {"train", "test"}
    with pytest.raises(ValueError, match=r"Unknown configuration 'source'\. Did you mean 'sources'"):
        write_punctuated_text(tmp_path / "other", ["source"], package)
