"""Folders whose names say what their files are: `domain/class/image`, `class/domain/image`, `split/...`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Audio, ClassLabel, Dataset, DatasetDict, Image
from datasets.packaged_modules.audiofolder.audiofolder import AudioFolder
from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder

from .align import in_order, listed, refuse_similar
from .split_names import canonical_split

IMAGES = tuple(ImageFolder.EXTENSIONS)
SOUNDS = tuple(one for one in AudioFolder.EXTENSIONS if one not in IMAGES)
FOLDER = "folder"
ENVIRONMENT, LABEL = "environment", "label"


def load_folder(
    path: str | Path,
    environment: str | None = FOLDER,
    label: str | None = FOLDER,
    order: Sequence[str] = (ENVIRONMENT, LABEL),
) -> DatasetDict:
    """A folder of images, or of sounds, whose folders name the environments and the classes.

    `environment`, `label`: "folder", where folders name them, or None. `order`: which of the two comes first
    from the top, where both do: `domain/class/file`, as in PACS, VLCS, OfficeHome and DomainNet, or
    `("label", "environment")`. Folders at the very top that are all called train, val, test or the like are
    splits; otherwise all is one split `train`. A class or a domain may be called `train`.

    Returns splits with the columns `image` (or `audio`), `label`, `environment`, both `ClassLabel` with one
    list of names for all splits. Raises `ValueError` where files lie at different depths, or deeper than
    there are names to give.

    Example:
        data = load_folder("PACS")  # PACS/sketch/dog/0.png
        environment_datasets(data, protocol=Protocol(test_environments=["sketch"]))
    """
    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {root}.")
    files = media_files(root)
    if not files:
        raise ValueError(f"{root} holds no images or sounds.")
    kinds = [("image", IMAGES), ("audio", SOUNDS)]
    column, suffixes = next(kind for kind in kinds if files[0].suffix.lower() in kind[1])
    other = next((file for file in files if file.suffix.lower() not in suffixes), None)
    if other is not None:
        raise ValueError(
            f"{root} holds images and sounds ({files[0].relative_to(root)}, {other.relative_to(root)}): one "
            "kind is read at a time."
        )
    names = [list(file.relative_to(root).parts[:-1]) for file in files]
    splits = [""] * len(files)
    if are_splits([parts[0] if parts else None for parts in names]):
        splits = [parts.pop(0) for parts in names]
    _refuse_depths(files, names, root)
    columns = _levels(names, environment, label, order, root)
    features = {name: ClassLabel(names=in_order(sorted({*values}))) for name, values in columns.items()}
    for name, feature in features.items():
        refuse_similar(feature.names, f"{name}s", f"{root}, by the names of its folders,")
    kind: Any = Image() if column == "image" else Audio(decode=False)
    found = {}
    for split in dict.fromkeys(splits):
        rows = [row for row, own in enumerate(splits) if own == split]
        data = Dataset.from_dict({column: [str(files[row]) for row in rows]}).cast_column(column, kind)
        for name, feature in features.items():
            ids = [feature.str2int(columns[name][row]) for row in rows]
            data = data.add_column(name, ids, feature=feature)
        found[split or "train"] = data
    return DatasetDict(found)


def media_files(root: Path) -> list[Path]:
    """All images and sounds below a folder, in the order of their paths; hidden ones and those of hidden
    folders are left out."""
    return [file for file in visible_files(root) if file.suffix.lower() in (*IMAGES, *SOUNDS)]


def visible_files(root: Path) -> list[Path]:
    return sorted(
        file
        for file in root.rglob("*")
        if file.is_file()
        and not any(part.startswith((".", "__MACOSX")) for part in file.relative_to(root).parts)
    )


def are_splits(folders: Sequence[str | None]) -> bool:
    """Whether every one of the folders at the top is called like a split."""
    return all(folder is not None and canonical_split(folder) is not None for folder in folders)


def _refuse_depths(files: Sequence[Path], names: Sequence[Sequence[str]], root: Path) -> None:
    depths = {len(parts): file for file, parts in zip(files, names, strict=True)}
    if len(depths) > 1:
        shown = [str(depths[depth].relative_to(root)) for depth in sorted(depths)]
        raise ValueError(
            f"The files of {root} lie at different depths ({listed(shown)}), so that their folders cannot be "
            "told apart: move them, or write a table with their paths."
        )


def _levels(
    names: Sequence[Sequence[str]],
    environment: str | None,
    label: str | None,
    order: Sequence[str],
    root: Path,
) -> dict[str, list[str]]:
    """The label and the environment of each file, where folders name them."""
    if sorted(order) != [ENVIRONMENT, LABEL]:
        raise ValueError(f"order names environment and label, the first from the top, not {list(order)}.")
    for what, value in ((ENVIRONMENT, environment), (LABEL, label)):
        if value not in (FOLDER, None):
            raise ValueError(f"{what} is told by folders ({FOLDER!r}) or not (None), not by {value!r}.")
    depth = len(names[0])
    if depth > 2:
        raise ValueError(
            f"The files of {root} lie {depth} folders deep ({'/'.join(names[0])}): one or two can name "
            "domain and class. Name a folder further down, or write a table with their paths."
        )
    asked = [what for what in order if {ENVIRONMENT: environment, LABEL: label}[what] == FOLDER]
    if depth == 1 and len(asked) == 2:
        asked = [LABEL]  # class folders, as everywhere
    if depth == 2 and len(asked) == 1:
        at = {ENVIRONMENT: 0, LABEL: 1}[asked[0]]
        return {asked[0]: [parts[at] for parts in names]}
    return {what: [parts[at] for parts in names] for at, what in enumerate(asked[:depth])}


def order_of(root: Path, held_out: Sequence[str], usual: Sequence[str]) -> tuple[str, ...]:
    """Which level of a folder of two names the environments: the one on which those that were asked for are;
    `usual` where that does not tell."""
    names = [file.relative_to(root).parts[:-1] for file in media_files(root)]
    if are_splits([parts[0] if parts else None for parts in names]):
        names = [parts[1:] for parts in names]
    if not held_out or any(len(parts) != 2 for parts in names):
        return tuple(usual)
    is_there = [{*held_out} <= {parts[level] for parts in names} for level in (0, 1)]
    if is_there == [True, False]:
        return ENVIRONMENT, LABEL
    return (LABEL, ENVIRONMENT) if is_there == [False, True] else tuple(usual)
