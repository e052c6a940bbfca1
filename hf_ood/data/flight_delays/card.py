"""What the card of the flights says that the data do not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..dataset_card import CardText
from .flights import LATE

NOTICE = Path(__file__).parent / "NOTICE"


def card_text(descriptions: Mapping[str, str]) -> CardText:
    return CardText(
        title="Late arrivals of flights from New York in 2013",
        license="cc0-1.0",
        introduction="All flights that left New York's three airports in 2013 and arrived, with what was "
        "known before each took off. The `environment` is the carrier, or the month.",
        details=f"The label is `late` for an arrival {LATE} minutes or more after schedule, the indicator of "
        "the US Department of Transportation. Flights that were cancelled or diverted are left out, for they "
        "have no arrival delay. The features are the scheduled departure, the way, and the weather at the "
        "origin in that hour, empty where it was not measured (train with `--impute true`); nothing that is "
        "known only after departure, such as the delay then. `date` is not for training: all flights of a "
        "day are in the same split, since a storm delays many of them.\n\n"
        "Carriers by their IATA codes, the largest first: UA United, B6 JetBlue, EV ExpressJet, DL Delta, "
        "AA American, MQ Envoy; then US, 9E, WN, VX, FL, AS, F9, YV, HA and OO, some with few rows.",
        descriptions=descriptions,
        command="hf-ood datasets --dataset flight_delays",
        license_notice=NOTICE.read_text(encoding="utf-8"),
    )
