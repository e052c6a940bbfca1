"""`dataset_scripts/colored_mnist/build.py`: from options to a folder, and from there to the Hub."""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

from datasets import DatasetDict, disable_progress_bars

from ..data import EnvironmentDataset, load_colored_mnist
from ..data.configurations import CONFIGURATIONS, make_config
from ..data.publish import push_dataset_folder, write_colored_mnist
from ..errors import UsageError
from ..reporting.samples import draw_samples
from .parser import add_options, sections

COLUMNS = 12  # sample images of each environment


DESCRIPTION = """\
Write Colored MNIST as parquet and a card, for `datasets.load_dataset` on a folder, and publish it.

  %(prog)s --dataset_config unseen_colors background_shortcut
  %(prog)s --dataset_config all --output_dir /path/to/folder --seed 1
  %(prog)s --dataset_config all --push_to_hub user/colored-mnist [--private] [--revision v2]"""


def make_parser(default_folder: Path = Path("colored_mnist")) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dataset_config",
        "--config",
        nargs="+",
        default=["all"],
        help=f"all, or some of {', '.join(CONFIGURATIONS)}",
    )
    parser.add_argument("--output_dir", type=Path, default=default_folder, help=f"default: {default_folder}")
    parser.add_argument("--push_to_hub", metavar="USER/NAME", help="publish the folder as this dataset")
    parser.add_argument("--private", action="store_true", help="a new repository is private")
    parser.add_argument("--revision", help="push to this branch (default: main)")
    group = parser.add_argument_group("what the data are")
    add_options(group, sections()["colored_mnist"])
    for action in group._group_actions:
        action.default = (
            argparse.SUPPRESS
        )  # only what was given is kept: the configuration knows the defaults
    return parser


def main(argv: Sequence[str] | None = None, default_folder: Path = Path("colored_mnist")) -> None:
    """Parse the command line, build, and push if asked to. A mistake is printed without a traceback."""
    options = vars(make_parser(default_folder).parse_args(argv))
    names = options.pop("dataset_config")
    names = list(CONFIGURATIONS) if names == ["all"] else names
    folder, repo_id = options.pop("output_dir"), options.pop("push_to_hub")
    private, revision = options.pop("private"), options.pop("revision")
    disable_progress_bars()
    try:
        for name in names:
            make_config(name, **options)
        samples = {name: sample_grid(load_colored_mnist(name, **options)) for name in names}
        write_colored_mnist(folder, names, samples, repo_id, **options)
        print(f"Wrote {', '.join(names)} to {folder}.")  # noqa: T201
        if repo_id:
            address = push_dataset_folder(folder, repo_id, private=private, revision=revision)
            print(f"Published: {address}")  # noqa: T201
    except ConnectionError as error:
        raise UsageError(f"{error}\nTo go on, run the same command again.") from error
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error
    where = f'"{repo_id or folder}", "{names[0]}"' + (f', revision="{revision}"' if revision else "")
    print(f"Read it with: datasets.load_dataset({where})")  # noqa: T201


def sample_grid(splits: DatasetDict, columns: int = COLUMNS) -> bytes:
    """A PNG with the first images of every environment of every split."""
    first: dict[str, EnvironmentDataset] = {}
    for split, dataset in splits.items():
        environments = dataset["environment"][:]
        rows = [row for kind in sorted(set(environments)) for row in _first(environments, kind, columns)]
        if rows:
            first[split] = EnvironmentDataset.from_dataset(dataset.select(rows))
    picture = io.BytesIO()
    draw_samples(first, columns).savefig(picture, format="png", dpi=100, metadata={"Software": None})
    return picture.getvalue()


def _first(environments: Sequence[int], kind: int, count: int) -> list[int]:
    return [row for row, environment in enumerate(environments) if environment == kind][:count]
