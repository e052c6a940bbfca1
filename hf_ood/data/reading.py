"""A dataset by its name: of the Hub, a folder of any usual shape, one file, or a pattern of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datasets import Audio, Dataset, DatasetDict, load_dataset, load_from_disk

from ..options import Flag, option
from .align import listed
from .folders import ENVIRONMENT, LABEL, load_folder, media_files, order_of, visible_files
from .image_paths import open_images, opened_files, refuse_outside
from .origins import origins_of
from .split_names import split_of_stem, without
from .splits import ROLES
from .tables import TableOptions, read_table, read_tables, stem, table_format

NO_DATA = ("README.md", "dataset_infos.json")
FROM_FOLDER, FROM_FILE = (
    "@folder",
    "@file",
)  # as columns: what the name of a file's folder, or of the file, tells


@dataclass(kw_only=True)
class Reading:
    """How files are read."""

    csv_separator: str | None = option(
        None,
        "What separates the columns of .csv files, such as ';'. Default: a comma (.tsv: a tab).",
        flag=Flag(stages=False),
    )
    csv_encoding: str = option(
        "utf-8", "The encoding of .csv and .tsv files, such as latin-1 or utf-16.", flag=Flag(stages=False)
    )
    allow_outside_files: bool = option(
        False,
        "A table may name files above its folder (..), in the working folder and by address (https://).",
        flag=Flag(stages=False),
    )
    ignore_splits: list[str] = option(
        [], "Splits that are left out, such as a test split without labels.", flag=Flag(stages=False)
    )

    @property
    def table(self) -> TableOptions:
        return TableOptions(self.csv_separator, self.csv_encoding)


def column_of(name: str, what: str) -> str:
    """The column that a flag means: what names of folders and files tell has a column of its own, `what`."""
    return what if name in (FROM_FOLDER, FROM_FILE) else name


@dataclass(frozen=True)
class Named:
    """What the names of folders and files tell: `@folder`, `@file`, or another column that is there.
    `held_out`: environments that are asked for, which tell domain folders from class folders."""

    environment: str | None = None
    label: str | None = None
    held_out: Sequence[str] = field(default_factory=tuple)


def read_dataset(
    name: str, configuration: str | None = None, reading: Reading | None = None, named: Named | None = None
) -> DatasetDict:
    """A dataset of the Hub, a local folder, one file or a pattern of files, as its splits.

    Files are .csv, .tsv (also .gz), .xlsx, .json, .jsonl, .parquet or .arrow, and make one split `train`; a
    pattern is one table. A folder is what `save_to_disk` or `push_to_hub` make of one; tables, which are
    splits where each is called like one as a whole (`val.csv`, not `val-thorens.csv`); images or sounds in
    folders of classes, of domains and classes (`load_folder`), or with one table at its top that names them.
    A column that names image files is one of images, one that names sound files one of sounds. What names of
    folders and files tell, or folders without a table, are the columns `label` and `environment`.

    Raises `ValueError` for what cannot be read, with the row and the way out, `FileNotFoundError` for a file
    that is not there.
    """
    reading, named, path = reading or Reading(), named or Named(), Path(name)
    if path.is_dir():
        found = _with_files_told(_from_folder(path, configuration, reading, named), path)
    elif table_format(name):
        files = sorted(path.parent.glob(path.name)) if not path.is_file() else [path]
        if not files:
            raise FileNotFoundError(f"There is no file {name}.")
        found = DatasetDict(train=_tables(files, reading, named))
    else:
        if path.is_absolute() or name.startswith(".") or name.count("/") > 1 or path.is_file():
            raise FileNotFoundError(
                f"There is no folder or table {name} (tables end in .csv, .tsv, .json, .jsonl, .parquet, "
                ".arrow or .xlsx)."
            )
        loaded = load_dataset(name, None if configuration == "default" else configuration)
        found = open_images(refuse_outside(loaded, []), None)
    return DatasetDict(without(found, reading.ignore_splits))


def _tables(files: Sequence[Path], reading: Reading, named: Named) -> Dataset:
    asked = named.environment == FROM_FILE
    table = (
        read_tables(files, reading.table, ENVIRONMENT if asked else None)
        if asked or len(files) > 1
        else read_table(files[0], reading.table)
    )
    folders = {file.parent for file in files}
    return open_images(
        DatasetDict(train=table), folders.pop() if len(folders) == 1 else None, reading.allow_outside_files
    )["train"]


def _from_folder(path: Path, configuration: str | None, reading: Reading, named: Named) -> DatasetDict:
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        saved = load_from_disk(str(path))
        return saved if isinstance(saved, DatasetDict) else DatasetDict(train=saved)
    configuration = None if configuration == "default" else configuration
    files = visible_files(path)
    tables = [file for file in files if table_format(file)]
    top = [file for file in tables if file.parent == path]
    has_card = "configs:" in _text(path / "README.md") or "dataset_info:" in _text(path / "README.md")
    if configuration or has_card:
        return open_images(refuse_outside(load_dataset(str(path), configuration), [path]), None)
    if media := media_files(path):
        if not tables:
            return _media(path, named)
        if len(top) == 1 and len(tables) == 1:
            return DatasetDict(train=_table_of_files(path, top[0], media, reading, named))
        if top:
            raise ValueError(
                f"{path} holds files and several tables "
                f"({listed([str(file.relative_to(path)) for file in tables])}): "
                "name the one that tells of them."
            )
    elif top and named.environment != FROM_FILE:
        return _splits_of(path, top, reading, named)
    elif top:
        return DatasetDict(train=_tables(top, reading, named))
    if not files:
        raise ValueError(f"{path} holds no files.")
    return open_images(load_dataset(str(path)), path)


def _with_files_told(splits: DatasetDict, path: Path) -> DatasetDict:
    """Each split's description says how many of the folder's files it is made of
    (`accounting.files_told`)."""
    there = [file for file in visible_files(path) if file.name not in NO_DATA]
    for data in splits.values():
        tables = [str(path / origin.file) for origin in origins_of(data)]
        used = {Path(file) for file in (*opened_files(data), *tables) if Path(file).is_relative_to(path)}
        if used:
            data.info.description = f"{len(used):,} of {len(there):,} files"
    return splits


def _text(file: Path) -> str:
    return file.read_text(errors="ignore") if file.is_file() else ""


def _splits_of(path: Path, tables: Sequence[Path], reading: Reading, named: Named) -> DatasetDict:
    """Tables as splits, where their names are splits'; the only one as `train`."""
    by_split: dict[str, list[Path]] = {split: [] for split in ROLES}
    for file in tables:
        by_split.setdefault(split_of_stem(stem(file)) or "", []).append(file)
    strange = by_split.get("", [])
    if not strange:
        return DatasetDict(
            {split: _tables(files, reading, named) for split, files in by_split.items() if files}
        )
    if len(tables) == 1:
        return DatasetDict(train=_tables(tables, reading, named))
    shown = listed([file.name for file in tables])
    pattern = path / f"*{tables[0].suffix}"
    raise ValueError(
        f"{path} holds {len(tables)} tables ({shown}), of which {listed([file.name for file in strange])} "
        f"{'is' if len(strange) == 1 else 'are'} called like no split. Name one of them; or '{pattern}' to "
        "read them as one table, with --environment_column @file if each is an environment; or call them "
        "train, validation and test."
    )


def _media(path: Path, named: Named) -> DatasetDict:
    """Images or sounds whose folders name domain and class."""
    first = (ENVIRONMENT, LABEL)
    if named.label == FROM_FOLDER:
        first = (LABEL, ENVIRONMENT)
    found = load_folder(path, order=order_of(path, named.held_out, first))
    if named.environment == FROM_FOLDER and ENVIRONMENT not in next(iter(found.values())).column_names:
        found = load_folder(path, label=None)  # one level of folders, which was said to be the environment
    return found


def _table_of_files(
    path: Path, table: Path, media: Sequence[Path], reading: Reading, named: Named
) -> Dataset:
    """A table that names the files of its folder, with what the folders tell besides."""
    data = open_images(
        DatasetDict(train=read_table(table, reading.table)), path, reading.allow_outside_files
    )["train"]
    kind = "audio" if isinstance(data.features.get("file_name"), Audio) else "image"
    if "file_name" in data.column_names and kind not in data.column_names:
        data = data.rename_column("file_name", kind)
    files = opened_files(data)
    if not files:
        raise ValueError(
            f"{table.name} names none of the {len(media)} files of {path} (such as "
            f"{media[0].relative_to(path)}): "
            "one of its columns must hold their paths, from the folder on."
        )
    if len(files) != len(data):
        return data
    parts = [
        Path(file).relative_to(path).parts[:-1] if Path(file).is_relative_to(path) else () for file in files
    ]
    depth = min(map(len, parts))
    wanted = {ENVIRONMENT: named.environment == FROM_FOLDER, LABEL: named.label == FROM_FOLDER}
    if not any(wanted.values()) and LABEL not in data.column_names and len({own[-1:] for own in parts}) > 1:
        wanted[LABEL] = True  # class folders beside a table that holds the environment
    order = order_of(path, named.held_out, (LABEL, ENVIRONMENT) if wanted[LABEL] else (ENVIRONMENT, LABEL))
    asked = [what for what in order if wanted[what]]
    if asked and depth < len(asked):
        raise ValueError(
            f"The files that {table.name} names lie in no folders that could tell the {asked[-1]}."
        )
    for what in asked:
        level = asked.index(what) if len(asked) == depth else order.index(what) if depth == 2 else -1
        origins = data.info.download_checksums
        data = data.remove_columns(what) if what in data.column_names else data
        data = data.add_column(what, [own[level] for own in parts])
        data.info.download_checksums = origins
    return data
