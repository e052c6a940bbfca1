"""A data set as a folder that plain `datasets.load_dataset` reads, parquet files and a card; and its push to
the Hub."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from datasets import Dataset, DatasetDict, DatasetInfo
from datasets.info import DatasetInfosDict
from datasets.splits import SplitDict, SplitInfo
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData, HfApi
from huggingface_hub.errors import EntryNotFoundError
from transformers.utils import logging

from ..errors import unknown_name
from ..files import put_right, replaced_folder
from ..moved import moved_names
from ..names import python_string
from ..uploads import push_files
from .common_names import with_common_names
from .dataset_card import CardText, render_text
from .earlier_build import (
    CARD_FILE,
    SAMPLES_FOLDER,
    TAG,
    built_configurations,
    card_configurations,
    of_earlier_build,
    refuse_others_as_shards,
)
from .published_rows import published_rows

MAX_SHARD_BYTES = 500 * 10**6
HERE = "."  # what a card loads that lies in a folder without a repository
logger = logging.get_logger(__name__)


def publish_dataset(
    dataset: DatasetDict | Mapping[str, DatasetDict],
    repo_id: str,
    text: CardText,
    default: str | None = None,
    samples: Mapping[str, bytes] | None = None,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """Push a data set with an environment column, and its card, in one commit. Returns the commit's address.

    `dataset`: splits, or configurations of splits. The rest as in `write_dataset_folder` and
    `push_dataset_folder`.

    Example: `publish_dataset(add_environments(dataset, column="hospital"), "user/scans",
    CardText("Scans", ...))`
    """
    configurations = {"default": dataset} if isinstance(dataset, DatasetDict) else dataset
    with tempfile.TemporaryDirectory() as folder:
        write_dataset_folder(folder, configurations, text, default, samples, repo_id)
        return push_dataset_folder(folder, repo_id, private=private, revision=revision, token=token)


def write_dataset_folder(
    folder: str | Path,
    configurations: Mapping[str, DatasetDict],
    text: CardText,
    default: str | None = None,
    samples: Mapping[str, bytes] | None = None,
    repo_id: str | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> Path:
    """Write `<configuration>/<split>-00000-of-00001.parquet` and `README.md`, the Hub's own layout.

    `default`: the configuration that is loaded when none is named (the first). `samples`: a PNG for each
    configuration, shown in the card. `repo_id`: what the card's code loads (where it lies).
    `max_shard_bytes`: larger splits become several files.

    Image files are copied into the parquet files, without their metadata (`without_metadata`), which the card
    counts; all splits of a configuration get one list of names (`with_common_names`).

    All or nothing: the folder is written beside and takes its place in one move (`replaced_folder`). What an
    earlier build left is gone with it; files that no build wrote stay. The same data give the same bytes.
    Returns the folder.

    Raises `ValueError` for configurations and splits whose names cannot be those of files, for what
    `with_common_names` and `published_rows` refuse, and when one of the new files would replace one that no
    build wrote.
    """
    folder, samples = Path(folder), samples or {}
    default = _checked_names(configurations, default, samples)
    common = {name: with_common_names(splits) for name, splits in configurations.items()}
    put_right(folder)
    before = built_configurations(folder)
    is_ours = of_earlier_build(folder, before)
    refuse_others_as_shards(folder, common, is_ours)
    with replaced_folder(folder, is_ours) as new:
        infos = {}
        cleaned = 0
        for name, splits in common.items():
            infos[name], count = _write_configuration(splits, new / name, name, max_shard_bytes)
            cleaned += count
        for name, picture in samples.items():
            (new / SAMPLES_FOLDER).mkdir(exist_ok=True)
            (new / SAMPLES_FOLDER / f"{name}.png").write_bytes(picture)
        content = render_text(text, common, default, repo_id or HERE, list(samples), cleaned)
        card = DatasetCard(f"---\n{_metadata(text, infos, default)}\n---\n\n{content}")
        card.save(new / CARD_FILE)
    if cleaned:
        logger.warning(
            f"{cleaned:,} images had EXIF, comments or other metadata, which {folder.name} does not have."
        )
    if gone := before - set(configurations):
        logger.warning(
            f"{folder} no longer has the configurations {', '.join(sorted(gone))} of an earlier build."
        )
    return folder


def _checked_names(
    configurations: Mapping[str, DatasetDict], default: str | None, samples: Mapping[str, bytes]
) -> str:
    """The default configuration. Raises `ValueError` for names that `load_dataset` could not find again."""
    if not configurations or not all(configurations.values()):
        raise ValueError("There is nothing to write: a dataset has configurations, and these have splits.")
    for name, splits in configurations.items():
        if not re.fullmatch(r"\w[\w.+-]{0,99}", name) or name == SAMPLES_FOLDER:
            raise ValueError(
                f"A configuration cannot be called {name!r}: it is the name of a folder, so give it letters, "
                "digits and _ . + - (not 'samples')."
            )
        for split in splits:
            if not re.fullmatch(r"\w+(\.\w+)*", str(split)) or len(str(split)) > 99:
                raise ValueError(
                    f"A split cannot be called {str(split)!r}: give it letters, digits, _ and inner dots, "
                    "as datasets wants."
                )
    for name in (*samples, *([default] if default else [])):
        if name not in configurations:
            raise ValueError(unknown_name("configuration", name, list(configurations)))
    return default or next(iter(configurations))


def _write_configuration(
    splits: DatasetDict, folder: Path, name: str, max_shard_bytes: int
) -> tuple[DatasetInfo, int]:
    """What the card's metadata say about the configuration, and how many of its images were cleaned."""
    folder.mkdir()
    written = {
        split: _write_split(data, folder, str(split), max_shard_bytes) for split, data in splits.items()
    }
    info = DatasetInfo(
        config_name=name,
        features=next(iter(splits.values())).features,
        splits=SplitDict(
            {split: SplitInfo(split, size, len(splits[split])) for split, (size, _) in written.items()}
        ),
        download_size=sum(file.stat().st_size for file in folder.iterdir()),
        dataset_size=sum(size for size, _ in written.values()),
    )
    return info, sum(cleaned for _, cleaned in written.values())


def _write_split(dataset: Dataset, folder: Path, split: str, max_shard_bytes: int) -> tuple[int, int]:
    """Parquet files of about equal size. Returns the number of bytes they hold uncompressed, and how many
    images were cleaned."""
    with tempfile.TemporaryDirectory() as room:  # on disk: the split may be larger than memory
        embedded, cleaned = published_rows(dataset, f"Split {split}", f"{room}/embedded.arrow")
        count = max(1, -(-embedded.data.nbytes // max_shard_bytes))
        size = sum(
            embedded.shard(count, index, contiguous=True).to_parquet(
                folder / f"{split}-{index:05d}-of-{count:05d}.parquet"
            )
            for index in range(count)
        )
    return size, cleaned


def _metadata(text: CardText, infos: Mapping[str, DatasetInfo], default: str) -> str:
    """The card's YAML."""
    card_data = DatasetCardData(
        license=text.license,
        pretty_name=text.title,
        task_categories=[_task(next(iter(infos.values())))],
        tags=[TAG, "out-of-distribution", "domain-generalization", "distribution-shift"],
    )
    data_files = {
        name: {
            "data_files": [{"split": split, "path": f"{name}/{split}-*"} for split in info.splits or ()],
            **({"default": True} if name == default else {}),
        }
        for name, info in infos.items()
    }
    MetadataConfigs(data_files).to_dataset_card_data(card_data)
    DatasetInfosDict(infos).to_dataset_card_data(card_data)
    return card_data.to_yaml()


def _task(info: DatasetInfo) -> str:
    kinds = {type(feature).__name__ for feature in (info.features or {}).values()}
    return "image-classification" if "Image" in kinds else "text-classification"


def push_dataset_folder(
    folder: str | Path,
    repo_id: str,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """Make a dataset repository hold what a folder of `write_dataset_folder` holds:
    `hf_ood.uploads.push_files`. The published card loads the repository where the folder's own loads the
    folder.

    Returns the address of the commit. Raises, besides, `ValueError` when the repository has configurations
    that this push would drop.
    """
    folder = Path(folder)
    configurations = card_configurations(folder / CARD_FILE)

    def refuse_to_drop(api: HfApi, head: str) -> None:
        lost = _published_configurations(api, repo_id, head) - configurations
        if lost:
            raise ValueError(
                f"{repo_id} also holds the configuration(s) {', '.join(sorted(lost))}, which this push "
                "would drop. Build them too (--config all), or push to another repository or --revision."
            )

    patterns = [CARD_FILE, f"{SAMPLES_FOLDER}/*.png", *(f"{name}/*.parquet" for name in configurations)]
    found = [file for pattern in patterns for file in folder.glob(pattern)]
    files: dict[str, Path | bytes] = {file.relative_to(folder).as_posix(): file for file in found}
    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    files[CARD_FILE] = card.replace(
        f"load_dataset({python_string(HERE)}", f"load_dataset({python_string(repo_id)}"
    ).encode()
    return push_files(
        files,
        repo_id,
        "dataset",
        f"Publish {', '.join(sorted(configurations))}",
        replaced=patterns,
        private=private,
        revision=revision,
        token=token,
        check=refuse_to_drop,
    )


def _published_configurations(api: HfApi, repo_id: str, revision: str | None) -> set[str]:
    try:
        return card_configurations(
            api.hf_hub_download(repo_id, CARD_FILE, repo_type="dataset", revision=revision)
        )
    except EntryNotFoundError:
        return set()


__getattr__ = moved_names(__name__)
