"""`trainers/measure_shift.py`: how far, and in which way, splits or environments lie apart."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from datasets import Dataset, get_dataset_config_names
from rich.console import Console
from rich.table import Table

from ..data import EnvironmentDataset
from ..data.accounting import counted, files_told
from ..data.built_in import BUILT_IN, DEFAULT_DATASET, configuration_of, read_built_in
from ..data.columns import require_columns
from ..data.folders import ENVIRONMENT, LABEL
from ..data.ids import ids_of
from ..data.reading import FROM_FILE, FROM_FOLDER, Named, Reading, column_of, read_dataset
from ..errors import unknown_name
from ..evaluation import Shift, measure_environment_shifts, measure_shift
from ..evaluation.results import versions
from ..evaluation.shift import ESTIMATORS, CheckpointEncoder, Encoder, PixelEncoder
from ..evaluation.shift.measure import FEWEST_PERMUTATIONS
from ..files import all_or_nothing
from ..json_files import json_text
from ..local_paths import without_local_paths
from ..names import file_name
from ..reporting.shift import REPORT_FILE, SHIFT_FILE, draw_shifts
from ..reporting.terminal import plain, say
from ..runs.data import keep_environments
from ..runs.published_command import command_line
from .funnel import add_debug, one_message
from .parser import add_reading, reading_of

TABLE_FILE = "shift.csv"
NO_ENCODER = "none, the inputs are vectors"
DESCRIPTION = """\
Measure how the test split has moved away from the training split, in two numbers from 0 (not at all) to 1.

  diversity     features that one split has and the other lacks: new colours, a new camera, a new hospital.
                Methods that broaden the features help (RSC, augmentation).
  correlation   features that both have, but that go with other classes: the background that told the label
                no longer does. Methods that look for what holds in every environment help (IRM, V-REx).

  hf-ood shift --all                       the six configurations of Colored MNIST
  hf-ood shift --dataset_config unseen_colors --encoder runs/my-run
  hf-ood shift --dataset user/scans --train_environments paris --test_environments rome
  hf-ood shift --dataset scans.csv --environment_column hospital --pairs_of train
                                           every pair of environments
  hf-ood shift --dataset linear_unit_tests --dataset_config example_2 example_3

Each number comes with the interval of the rows drawn, with what the same rows read when they are shuffled
between the two splits (null), and with how often they then read as much (p_value). The kind of
shift is the larger number whose p_value is 0.025 or less. Read a number against its null: few rows or many
components raise both. A shift is one of the features that --encoder and --components leave: pixels see
colours, a trained network sees what it was trained to see. A change of the label frequencies is taken out,
and reported apart. After Ye et al. 2022, OoD-Bench; --estimator kde is the estimator of the paper."""

Part: TypeAlias = EnvironmentDataset | Dataset


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    data = parser.add_argument_group("what is compared")
    data.add_argument(
        "--dataset",
        default=DEFAULT_DATASET,
        help=f"{' or '.join(name for name, data in BUILT_IN.items() if data.tensors or data.dataset)} (built "
        f"in; the default is {DEFAULT_DATASET}), a Hub dataset, a local folder, or files as in train.py",
    )
    data.add_argument(
        "--dataset_config", nargs="+", metavar="NAME", help="configurations; one point each in the plot"
    )
    data.add_argument("--all", action="store_true", help="all configurations of the dataset")
    data.add_argument("--train_split", default="train", metavar="SPLIT", help="default: train")
    data.add_argument("--test_split", default="test", metavar="SPLIT", help="default: test")
    for split in ("train", "test"):
        data.add_argument(
            f"--{split}_environments",
            nargs="+",
            metavar="NAME",
            help=f"only these environments of the {split} split",
        )
    data.add_argument(
        "--pairs_of", metavar="SPLIT", help="instead: compare every two environments of this split"
    )
    for what in (LABEL, ENVIRONMENT):
        data.add_argument(
            f"--{what}_column",
            default=what,
            help=f"default: {what}; {FROM_FOLDER}: the folders of the files name it; {FROM_FILE}: the name "
            "of each table does",
        )
    data.add_argument("--image_column", help="not needed when there is only one column of images")
    data.add_argument(
        "--text_column", default="text", help="of texts, for an encoder of texts; default: text"
    )
    add_reading(data)
    how = parser.add_argument_group("how")
    how.add_argument(
        "--encoder",
        default="pixels",
        help="pixels (reduced to 7 x 7, the default), or a folder or Hub id of a trained network, whose "
        "last features are taken",
    )
    how.add_argument("--revision", default="main", help="branch, tag or commit of the encoder on the Hub")
    how.add_argument(
        "--trust_remote_code", action="store_true", help="run the code that the encoder's repository brings"
    )
    how.add_argument(
        "--components", type=int, default=8, help="principal components of the features; default: 8"
    )
    how.add_argument(
        "--estimator",
        default="classifier",
        help=f"{' or '.join(ESTIMATORS)}: cross-fitted probabilities (default), or kernel densities as in "
        "the paper, calibrated",
    )
    how.add_argument("--max_samples", type=int, default=2000, help="rows of either split; default: 2000")
    how.add_argument(
        "--permutations",
        type=int,
        default=FEWEST_PERMUTATIONS,
        help=f"samples without shift, for the null; default: {FEWEST_PERMUTATIONS}, the fewest that allow a "
        "verdict",
    )
    how.add_argument("--seed", type=int, default=0, help="of rows, folds and permutations; default: 0")
    how.add_argument(
        "--output_dir",
        type=Path,
        help=f"folder of {REPORT_FILE}, {TABLE_FILE} and {SHIFT_FILE}; default: "
        "evaluations/shift-of-<dataset>",
    )
    add_debug(parser)
    return parser


@one_message
def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Parse the command line, measure, and leave numbers and plot in a folder. Returns the report."""
    flags = list(sys.argv[1:] if argv is None else argv)
    arguments = make_parser().parse_args(flags)
    return run(arguments, command_line("trainers/measure_shift.py", flags))


def run(arguments: argparse.Namespace, command: str) -> dict[str, Any]:
    """Measure every configuration asked for, and write `shift.json`, `shift.csv` and `shift.png`.

    Raises `ValueError` for a name that is not there, and what `measure_shift` raises.
    """
    refuse_rows_on_both_sides(arguments)
    names = configurations(arguments)
    options: dict[str, Any] = {
        name: getattr(arguments, name)
        for name in ("estimator", "components", "max_samples", "permutations", "seed")
    }
    encoder: Encoder | None = None
    shifts: dict[str, Shift] = {}
    encoded = arguments.encoder
    for name in names:
        splits = load(arguments, name)
        if len(names) > 1 and not arguments.dataset_config and is_regression(splits):
            print(f"Left out: {name}, a regression. Shifts are measured between classes.")  # noqa: T201
            continue
        if are_vectors(splits):
            encoded = NO_ENCODER
            if arguments.encoder != "pixels":
                raise ValueError(
                    f"The inputs of {arguments.dataset} are vectors, which are measured as they are: leave "
                    "--encoder out."
                )
        encoder = encoder or encoder_of(arguments)
        found = compare(splits, arguments, {**options, "encoder": encoder})
        prefix = f"{name}: " if len(names) > 1 else ""
        named = "" if name == "default" else name
        shifts |= {
            prefix + pair if pair else named or without_local_paths(arguments.dataset): shift
            for pair, shift in found.items()
        }
    report = {
        "dataset": without_local_paths(arguments.dataset),
        "encoder": without_local_paths(encoded),
        **options,
        "shifts": {name: shift.to_dict() for name, shift in shifts.items()},
        "versions": {**versions(), "scikit-learn": version("scikit-learn")},
        "command": without_local_paths(command),
    }
    folder = arguments.output_dir or Path("evaluations") / file_name(
        f"shift-of-{Path(arguments.dataset).name}"
    )
    write(report, folder)
    print_report(report, folder)
    return report


def encoder_of(arguments: argparse.Namespace) -> Encoder:
    if arguments.encoder == "pixels":
        return PixelEncoder()
    return CheckpointEncoder(
        arguments.encoder, revision=arguments.revision, trust_remote_code=arguments.trust_remote_code
    )


def refuse_rows_on_both_sides(arguments: argparse.Namespace) -> None:
    """Raise `ValueError` when the two sides would share rows, or flags contradict each other."""
    chosen = (arguments.train_environments, arguments.test_environments)
    if arguments.pairs_of and any(chosen):
        raise ValueError(
            "--pairs_of compares all environments of a split: leave --train_environments and "
            "--test_environments out."
        )
    shared = not all(chosen) or set(chosen[0]) & set(chosen[1])
    if not arguments.pairs_of and arguments.train_split == arguments.test_split and shared:
        raise ValueError(
            f"The split {arguments.train_split} would be compared with itself: choose different "
            "--train_environments and --test_environments, or --pairs_of "
            f"{arguments.train_split} for every pair of its environments."
        )


def configurations(arguments: argparse.Namespace) -> list[str | None]:
    """The configurations to measure, of a built-in data set without a usual one all; None is a dataset's only
    one."""
    if arguments.all and arguments.dataset_config:
        raise ValueError("Give --all or --dataset_config, not both.")
    if arguments.all:
        if arguments.dataset in BUILT_IN:
            return list(BUILT_IN[arguments.dataset].configurations)
        return list(get_dataset_config_names(arguments.dataset))
    if arguments.dataset_config:
        return list(arguments.dataset_config)
    usual = configuration_of(arguments.dataset)
    if usual is None and arguments.dataset in BUILT_IN:
        return list(BUILT_IN[arguments.dataset].configurations)
    return [usual]


def load(arguments: argparse.Namespace, configuration: str | None) -> Mapping[str, Part]:
    """The splits of a built-in data set, or of one that is read as the flags say."""
    built_in = BUILT_IN.get(arguments.dataset)
    if built_in and built_in.tensors:
        asked_in_vain = [
            f"--{flag}"
            for flag in (
                "label_column",
                "environment_column",
                "image_column",
                "text_column",
                *vars(Reading()),
            )
            if getattr(arguments, flag, None) != make_parser().get_default(flag)
        ]
        if asked_in_vain:
            raise ValueError(
                f"{arguments.dataset} is built in and has no columns or files to name: leave "
                f"{', '.join(asked_in_vain)} out."
            )
        return built_in.tensors(configuration)
    rows = read_built_in(arguments.dataset, configuration)
    if rows is not None:
        return rows
    asked = [*(arguments.train_environments or []), *(arguments.test_environments or [])]
    return read_dataset(
        arguments.dataset,
        configuration,
        reading_of(arguments),
        Named(arguments.environment_column, arguments.label_column, asked),
    )


def is_regression(splits: Mapping[str, Part]) -> bool:
    """Whether the labels of a built-in data set are numbers."""
    return any(
        isinstance(part, EnvironmentDataset) and part.labels.is_floating_point() for part in splits.values()
    )


def are_vectors(splits: Mapping[str, Part]) -> bool:
    """Whether the inputs of a built-in data set have no encoder between them and the measures."""
    return any(
        isinstance(part, EnvironmentDataset) and "inputs" in part.inputs([0]) for part in splits.values()
    )


def compare(
    splits: Mapping[str, Part], arguments: argparse.Namespace, options: dict[str, Any]
) -> dict[str, Shift]:
    """The shift from one split to the other, named '', or those of every pair of environments."""
    environment = column_of(arguments.environment_column, ENVIRONMENT)
    label = column_of(arguments.label_column, LABEL)
    options = {**options, "label_column": label, "image_column": arguments.image_column}
    options["text_column"] = arguments.text_column
    wanted = [arguments.pairs_of] if arguments.pairs_of else [arguments.train_split, arguments.test_split]
    for split in wanted:
        if split not in splits:
            raise ValueError(unknown_name("split", split, [str(name) for name in splits]))
        print(f"{split}: {rows_told(splits[split], environment)}")  # noqa: T201
    if arguments.pairs_of:
        found = measure_environment_shifts(splits[arguments.pairs_of], environment, **options)
        return {f"{one} / {other}": shift for (one, other), shift in found.items()}
    sides = [
        keep(splits[split], names, environment) if names else splits[split]
        for split, names in zip(
            wanted, (arguments.train_environments, arguments.test_environments), strict=True
        )
    ]
    return {"": measure_shift(sides[0], sides[1], **options)}


def rows_told(part: Part, column: str) -> str:
    """What was read: files, rows, environments."""
    rows = f"{len(part):,} rows"
    if isinstance(part, EnvironmentDataset):
        return f"{rows}; environments {counted(part.environments.numpy(), part.environment_names)}"
    files = files_told(part.info.description)
    known = column in part.column_names
    environments = [f"environments {counted(*ids_of(part, column, 'environment'))}"] if known else []
    return "; ".join([*files, rows, *environments])


def keep(part: Part, names: Sequence[str], column: str) -> Part:
    """The rows of some environments. Raises `ValueError` for one that is not there."""
    if isinstance(part, EnvironmentDataset):
        return keep_environments(part, names)
    require_columns(part, column)
    ids, known = ids_of(part, column, "environment")
    for name in names:
        if name not in known:
            raise ValueError(unknown_name("environment", name, known))
    rows = np.isin(ids, [known.index(name) for name in names])
    return part.select(np.flatnonzero(rows).tolist())


def write(report: Mapping[str, Any], folder: Path) -> None:
    """The report, its table and its plot."""
    folder.mkdir(parents=True, exist_ok=True)
    with all_or_nothing(folder, last=REPORT_FILE) as files:
        (files / REPORT_FILE).write_text(json_text(report, indent=2) + "\n", encoding="utf-8")
        table = pd.json_normalize(
            [{"name": name, **shift} for name, shift in report["shifts"].items()], sep="_"
        )
        table.columns = table.columns.str.removeprefix("measures_").str.removeprefix("diagnostics_")
        table.to_csv(files / TABLE_FILE, index=False, float_format="%.6g")
        draw_shifts(report["shifts"]).savefig(files / SHIFT_FILE, dpi=120, bbox_inches="tight")


def print_report(report: Mapping[str, Any], folder: Path) -> None:
    title = f"Shifts of {report['dataset']}, encoder {report['encoder']}"
    table = Table(title=plain(title), title_justify="left", box=None, pad_edge=False)
    table.add_column("", overflow="fold")
    table.add_column("kind")
    for column in ("diversity (null)", "correlation (null)", "labels"):
        table.add_column(column, justify="right")
    for name, shift in report["shifts"].items():
        found = [shift["measures"][measure] for measure in ("diversity", "correlation")]
        cells = [f"{entry['value']:.3f} ({entry['null']:.3f})" for entry in found]
        table.add_row(plain(name), shift["kind"], *cells, f"{shift['label_shift']:.3f}")
    console = Console()
    console.print(table)
    for what, file in (("report", REPORT_FILE), ("table", TABLE_FILE), ("plot", SHIFT_FILE)):
        say(console, f"{what + ':':7s} {folder / file}")
