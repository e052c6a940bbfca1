"""A data set as a folder that plain `datasets.load_dataset` reads: parquet files and a card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from datasets import DatasetDict, DatasetInfo
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData

from .colored_mnist import DEFAULT_CONFIGURATION, load_colored_mnist
from .configurations import CONFIGURATIONS


def write_colored_mnist(
    folder: str | Path, configurations: Iterable[str] = CONFIGURATIONS, **options: Any
) -> Path:
    """Build configurations of Colored MNIST into a folder; `options` as in `ColoredMNISTConfig`.

    Then `load_dataset(folder, "unseen_colors")` works without this package. Returns the folder.
    """
    built = {name: load_colored_mnist(name, **options) for name in configurations}
    return write_dataset_folder(
        folder,
        built,
        default=DEFAULT_CONFIGURATION if DEFAULT_CONFIGURATION in built else next(iter(built)),
        title="Colored MNIST under distribution shift",
        text=_describe(built, options),
        license="cc-by-sa-3.0",
    )


def write_dataset_folder(
    folder: str | Path,
    configurations: Mapping[str, DatasetDict],
    default: str,
    title: str,
    text: str,
    license: str,
) -> Path:
    """Write `<configuration>/<split>-00000-of-00001.parquet` and `README.md`, the Hub's own layout."""
    folder = Path(folder)
    infos: dict[str, DatasetInfo] = {}
    data_files: dict[str, dict[str, Any]] = {}
    for name, splits in configurations.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for split, dataset in splits.items():
            dataset.to_parquet(folder / name / f"{split}-00000-of-00001.parquet")
        infos[name] = DatasetInfo(config_name=name, features=next(iter(splits.values())).features)
        data_files[name] = {"data_files": [{"split": split, "path": f"{name}/{split}-*"} for split in splits]}
        if name == default:
            data_files[name]["default"] = True
    card_data = DatasetCardData(
        license=license, pretty_name=title, task_categories=["image-classification"], tags=["hf_ood"]
    )
    MetadataConfigs(data_files).to_dataset_card_data(card_data)
    DatasetInfosDict(infos).to_dataset_card_data(card_data)
    DatasetCard(f"---\n{card_data.to_yaml()}\n---\n\n# {title}\n\n{text}").save(folder / "README.md")
    return folder


def _describe(built: Mapping[str, DatasetDict], options: Mapping[str, Any]) -> str:
    """What shifts, and the counts of every environment in every split."""
    lines = [
        "Real MNIST digits in colour; every image has an `environment`. Made with `hf_ood` from MNIST "
        "(Yann LeCun and Corinna Cortes, CC BY-SA 3.0)" + (f", options {dict(options)}." if options else "."),
        "",
        "| configuration | split | images per environment |",
        "|---|---|---|",
    ]
    for name, splits in built.items():
        lines += [f"| **{name}** | | {CONFIGURATIONS[name]} |"]
        for split, dataset in splits.items():
            names = dataset.features["environment"].names
            counts = sorted(Counter(dataset["environment"]).items())
            lines.append(f"| | {split} | {', '.join(f'{names[i]} {count:,}' for i, count in counts)} |")
    return "\n".join(lines) + "\n"
