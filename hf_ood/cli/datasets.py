"""`hf-ood datasets`: a built-in data set, from options to a folder, and from there to the Hub."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import DatasetDict, disable_progress_bars
from rich.console import Console
from rich.table import Table

from ..data import EnvironmentDataset
from ..data.built_in import BUILT_IN, DEFAULT_DATASET, BuiltIn
from ..data.publish import push_dataset_folder
from ..errors import UsageError, unknown_name
from ..options import refuse_not_finite
from ..reporting.samples import draw_samples
from ..runs.sections import data_options
from ..uploads import HubError
from .funnel import add_debug, one_message
from .parser import add_options

COLUMNS = 12  # sample images of each environment


DESCRIPTION = """\
Write a built-in data set as parquet and a card, for `datasets.load_dataset` on a folder, and publish it.

  %(prog)s --list                         what is built in
  %(prog)s --dataset_config unseen_colors background_shortcut
  %(prog)s --dataset_config all --output_dir /path/to/folder --seed 1
  %(prog)s --dataset_config all --push_to_hub user/colored-mnist [--private] [--revision v2]
  %(prog)s --dataset punctuated_text --help   the options of another one"""


def make_parser(
    default_folder: Path | None = None, dataset: str = DEFAULT_DATASET
) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    folder, data = default_folder or Path(dataset), BUILT_IN[dataset]
    parser.add_argument("--list", action="store_true", help="show what is built in")
    parser.add_argument(
        "--dataset",
        default=dataset,
        help=f"{' or '.join(writable())}; default: {DEFAULT_DATASET}",
    )
    parser.add_argument(
        "--dataset_config",
        "--config",
        nargs="+",
        default=["all"],
        help=f"all, or some of {', '.join(data.configurations)}",
    )
    parser.add_argument("--output_dir", type=Path, default=folder, help=f"default: {folder}")
    parser.add_argument("--push_to_hub", metavar="USER/NAME", help="publish the folder as this dataset")
    parser.add_argument("--private", action="store_true", help="a new repository is private")
    parser.add_argument("--revision", help="push to this branch (default: main)")
    group = parser.add_argument_group(f"what the data of {dataset} are")
    add_options(group, data_options(data))
    for action in group._group_actions:
        action.default = (
            argparse.SUPPRESS
        )  # only what was given is kept: the configuration knows the defaults
    add_debug(parser)
    return parser


def writable() -> list[str]:
    return [name for name, data in BUILT_IN.items() if data.write]


def asked_dataset(flags: Sequence[str]) -> str:
    """The data set whose options the other flags are. Raises `UsageError` for one that cannot be written."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--dataset", default=DEFAULT_DATASET)
    name = first.parse_known_args(flags)[0].dataset
    if name not in BUILT_IN:
        raise UsageError(f"{unknown_name('built-in data set', name, list(BUILT_IN))} --list shows them.")
    if BUILT_IN[name].write is None:
        raise UsageError(
            f"{name} is made in memory whenever it is named, in a second: there is no folder to write. "
            f"Train on it with hf-ood train --dataset {name}."
        )
    return name


@one_message
def main(argv: Sequence[str] | None = None, default_folder: Path | None = None) -> None:
    """Parse the command line, build, and push if asked to. A mistake is printed without a traceback."""
    flags = list(sys.argv[1:] if argv is None else argv)
    dataset = asked_dataset(flags)
    options = vars(make_parser(default_folder, dataset).parse_args(flags))
    if options.pop("list"):
        return print_list()
    data = BUILT_IN[options.pop("dataset")]
    names = options.pop("dataset_config")
    names = list(data.configurations) if names == ["all"] else names
    folder, repo_id = options.pop("output_dir"), options.pop("push_to_hub")
    private, revision = options.pop("private"), options.pop("revision")
    refuse_not_finite(options)
    disable_progress_bars()
    write(data, folder, names, repo_id, options)
    print(f"Wrote {', '.join(names)} to {folder}.")  # noqa: T201
    if repo_id:
        try:
            address = push_dataset_folder(folder, repo_id, private=private, revision=revision)
        except ConnectionError as error:
            raise HubError(f"{error}\nTo go on, run the same command again.") from error
        print(f"Published: {address}")  # noqa: T201
    where = f'"{repo_id or folder}", "{names[0]}"' + (f', revision="{revision}"' if revision else "")
    print(f"Read it with: datasets.load_dataset({where})")  # noqa: T201


def write(
    data: BuiltIn, folder: Path, names: Sequence[str], repo_id: str | None, options: dict[str, Any]
) -> None:
    """The folder, with a picture of each configuration of images."""
    assert data.check is not None and data.write is not None
    for name in names:
        data.check(name, **options)
    samples = {}
    if data.dataset is not None:
        drawn = {} if data.has_rows else options  # those say only where the rows come from
        samples = {name: sample_grid(data.dataset(name, **drawn)) for name in names}
    data.write(folder, names, samples, repo_id, **options)


def print_list() -> None:
    """Every built-in data set, its configurations, and what they are."""
    console = Console()
    for name, data in BUILT_IN.items():
        console.print(f"{name}: {data.summary}", style="italic", markup=False, highlight=False)
        table = Table(expand=False)
        for column in ("configuration", "what"):
            table.add_column(column, overflow="fold")
        for configuration, what in data.configurations.items():
            default = " (default)" if configuration == data.default else ""
            table.add_row(configuration + default, what)
        console.print(table)
    made = [name for name, data in BUILT_IN.items() if data.tensors or data.dataset]
    console.print(
        f"Train on {' or '.join(made)} by name: hf-ood train --dataset {made[0]} --dataset_config NAME."
    )
    console.print(f"Write {' or '.join(writable())} as a folder: hf-ood datasets --dataset {writable()[-1]}.")


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
