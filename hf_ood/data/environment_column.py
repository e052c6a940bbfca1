"""Any data set becomes one with environments: from columns, a function of a row, or a metadata file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from datasets import ClassLabel, Dataset, DatasetDict

from .ids import numbered
from .metadata import joined_columns

ENVIRONMENT = "environment"
Data = TypeVar("Data", Dataset, DatasetDict)


def add_environments(
    dataset: Data,
    column: str | Sequence[str] | None = None,
    function: Callable[[dict[str, Any]], str | int | bool] | None = None,
    metadata_file: str | Path | None = None,
    key: str | None = None,
) -> Data:
    """Add `environment`, a `ClassLabel` with one list of names for all splits, which is what the
    trainers take.

    `column`: a column that tells the environment; several make one environment of each combination that
    occurs, named `hospital=1,camera=b`. `function`: called with each row. `metadata_file`: a csv, tsv,
    json lines or parquet file whose `column` (default: environment) tells it, joined by the column
    `key`, which the file and the data set share; if only the file has it, it is compared with the paths
    of the image files, from their end on: `cat/0.png` is `.../cat/0.png`.

    Returns a new `Dataset` or `DatasetDict`. Raises `ValueError` for a column that is missing, values that
    are missing, and rows that the file does not have.

    Example: `add_environments(load_dataset("user/scans"), column=["hospital", "scanner"])`
    """
    if isinstance(dataset, Dataset):
        return add_environments(DatasetDict(all=dataset), column, function, metadata_file, key)["all"]
    if not isinstance(dataset, DatasetDict):
        raise TypeError(f"Expected a datasets.Dataset or DatasetDict, not {type(dataset).__name__}.")
    if (function is not None) + (metadata_file is not None) > 1 or (
        function is not None and column is not None
    ):
        raise ValueError("Give one of column, function, and metadata_file (with the file's column and key).")
    columns = [column] if isinstance(column, str) else list(column or [])
    if metadata_file is not None:
        columns = columns or [ENVIRONMENT]
        told = joined_columns(dataset, Path(metadata_file), columns, key)
    elif function is not None:
        columns = [ENVIRONMENT]
        told = DatasetDict(
            {
                split: Dataset.from_dict({ENVIRONMENT: [function(row) for row in data]})
                for split, data in dataset.items()
            }
        )
    elif columns:
        told = dataset
    else:
        raise ValueError("Say where environments come from: column, function, or metadata_file.")
    ids, names = numbered(told, columns, "environment")
    replaced = told is dataset and columns == [ENVIRONMENT]
    added = {}
    for split, data in dataset.items():
        if ENVIRONMENT in data.column_names and not replaced:
            raise ValueError(
                f"The split {split} has a column 'environment' already: use it (column='environment'), or "
                "rename it first (dataset.rename_column)."
            )
        rest = data.remove_columns(ENVIRONMENT) if replaced else data
        added[split] = rest.add_column(ENVIRONMENT, ids[split], feature=ClassLabel(names=names))
    return DatasetDict(added)
