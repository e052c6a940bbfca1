"""A data set as a folder that plain `datasets.load_dataset` reads, parquet files and a card; and its push to
the Hub."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, DatasetInfo
from datasets.info import DatasetInfosDict
from datasets.splits import SplitDict, SplitInfo
from datasets.table import embed_table_storage
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData, HfApi
from huggingface_hub.errors import EntryNotFoundError

from ..moved import moved_names
from ..uploads import push_files
from .dataset_card import CardText, render_text

CARD_FILE = "README.md"
SAMPLES_FOLDER = "samples"
MAX_SHARD_BYTES = 500 * 10**6


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
    configuration, shown in the card. `repo_id`: what the card's code loads (this folder).
    `max_shard_bytes`: larger splits become several files. Image files are copied into the parquet files.

    The same data give the same bytes. Returns the folder.
    """
    folder, samples = Path(folder), samples or {}
    default = default or next(iter(configurations))
    infos: dict[str, DatasetInfo] = {}
    data_files: dict[str, dict[str, Any]] = {}
    for name, splits in configurations.items():
        shutil.rmtree(folder / name, ignore_errors=True)  # shards of an earlier, larger build
        (folder / name).mkdir(parents=True)
        sizes = {
            split: _write_split(data, folder / name, split, max_shard_bytes) for split, data in splits.items()
        }
        infos[name] = DatasetInfo(
            config_name=name,
            features=next(iter(splits.values())).features,
            splits=SplitDict(
                {split: SplitInfo(split, size, len(splits[split])) for split, size in sizes.items()}
            ),
            download_size=sum(file.stat().st_size for file in (folder / name).iterdir()),
            dataset_size=sum(sizes.values()),
        )
        data_files[name] = {"data_files": [{"split": split, "path": f"{name}/{split}-*"} for split in splits]}
        if name == default:
            data_files[name]["default"] = True
    for name, picture in samples.items():
        (folder / SAMPLES_FOLDER).mkdir(exist_ok=True)
        (folder / SAMPLES_FOLDER / f"{name}.png").write_bytes(picture)
    card_data = DatasetCardData(
        license=text.license,
        pretty_name=text.title,
        task_categories=[_task(next(iter(infos.values())))],
        tags=["hf_ood", "out-of-distribution", "domain-generalization", "distribution-shift"],
    )
    MetadataConfigs(data_files).to_dataset_card_data(card_data)
    DatasetInfosDict(infos).to_dataset_card_data(card_data)
    content = render_text(text, configurations, default, repo_id or str(folder), list(samples))
    DatasetCard(f"---\n{card_data.to_yaml()}\n---\n\n{content}").save(folder / CARD_FILE)
    return folder


def _write_split(dataset: Dataset, folder: Path, split: str, max_shard_bytes: int) -> int:
    """Parquet files of about equal size. Returns the number of bytes they hold uncompressed."""
    with tempfile.TemporaryDirectory() as room:  # on disk: the split may be larger than memory
        embedded = dataset.with_format("arrow").map(
            embed_table_storage, batched=True, batch_size=1000, cache_file_name=f"{room}/embedded.arrow"
        )
        embedded = embedded.with_format(None)
        count = max(1, -(-embedded.data.nbytes // max_shard_bytes))
        return sum(
            embedded.shard(count, index, contiguous=True).to_parquet(
                folder / f"{split}-{index:05d}-of-{count:05d}.parquet"
            )
            for index in range(count)
        )


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
    `hf_ood.uploads.push_files`.

    Returns the address of the commit. Raises, besides, `ValueError` when the repository has configurations
    that this push would drop.
    """
    folder = Path(folder)
    configurations = _card_configurations(folder / CARD_FILE)

    def refuse_to_drop(api: HfApi, head: str) -> None:
        lost = _published_configurations(api, repo_id, head) - configurations
        if lost:
            raise ValueError(
                f"{repo_id} also holds the configuration(s) {', '.join(sorted(lost))}, which this push "
                "would drop. Build them too (--config all), or push to another repository or --revision."
            )

    patterns = [CARD_FILE, f"{SAMPLES_FOLDER}/*.png", *(f"{name}/*.parquet" for name in configurations)]
    found = [file for pattern in patterns for file in folder.glob(pattern)]
    return push_files(
        {file.relative_to(folder).as_posix(): file for file in found},
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
        return _card_configurations(
            api.hf_hub_download(repo_id, CARD_FILE, repo_type="dataset", revision=revision)
        )
    except EntryNotFoundError:
        return set()


def _card_configurations(file: str | Path) -> set[str]:
    return {entry["config_name"] for entry in DatasetCard.load(file).data.to_dict().get("configs", [])}


__getattr__ = moved_names(__name__)
