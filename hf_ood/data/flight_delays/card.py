"""What the card of the flights says that the data do not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ..dataset_card import CardText
from .flights import LATE

FOLDER = Path(__file__).parent
SHIFT_COMMANDS = (
    "hf-ood train --config flight_delays --test_environments EV --output_dir runs/late",
    "hf-ood shift --dataset flight_delays --train_split train --test_split test --train_environments UA B6 "
    "DL AA MQ --test_environments EV --encoder runs/late --max_samples 500",
)


def _shift_told() -> str:
    """What was measured between five large carriers and the sixth, which the network had not seen."""
    measured = pd.read_csv(FOLDER / "shift.csv").iloc[0]
    commands = "`, then `".join(SHIFT_COMMANDS)
    return (
        "Measured from five large carriers in training to EV in the test, from 0 (no shift) to 1, with what "
        f"the same rows read without any shift in brackets: diversity shift {measured.diversity_value:.2f} "
        f"({measured.diversity_null:.2f}), correlation shift {measured.correlation_value:.2f} "
        f"({measured.correlation_null:.2f}). The features are those of a network that was trained on all "
        f"carriers but EV (`{commands}`)."
    )


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
        "AA American, MQ Envoy; then US, 9E, WN, VX, FL, AS, F9, YV, HA and OO, some with few rows.\n\n"
        + _shift_told(),
        descriptions=descriptions,
        command="hf-ood datasets --dataset flight_delays",
        license_notice=(FOLDER / "NOTICE").read_text(encoding="utf-8"),
    )
