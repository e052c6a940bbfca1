"""A forecast as `forecast.json` and on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from ...evaluation.forecast.over_environments import LEAST_ENVIRONMENTS
from ...evaluation.forecast.site import SiteForecast
from ...names import one_line
from ...reporting.terminal import plain

FORECAST_FILE = "forecast.json"
TITLES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "worst_group": "worst group"}


def as_json(found: Mapping[str, SiteForecast]) -> dict[str, Any]:
    """Measure -> what is forecast, with which weights, and how every estimator did in the trials."""
    return {name: asdict(forecast) for name, forecast in found.items()}


def warnings_of(trials: int, site: Mapping[str, Any] | None) -> list[str]:
    """What a reader has to know before any number: too few environments, a site outside what they span."""
    found = []
    if trials < LEAST_ENVIRONMENTS:
        found.append(
            f"Too few environments: {trials} were left out in turn, and an interval over environments needs "
            f"at least {LEAST_ENVIRONMENTS}. What follows are estimates without one."
        )
    if site is not None and site["outside"]:
        found.append(
            f"The site lies outside what the training environments span: its features are shifted by "
            f"{site['distance']:.2f} from {site['nearest']}, its nearest, and none of them by more than "
            f"{site['farthest']:.2f} from its own. Errors in the trials need not bound the one here."
        )
    return found


def print_forecast(report: Mapping[str, Any], console: Console) -> None:
    """Trials, warnings, and the forecast."""
    trials: Sequence[Mapping[str, Any]] = report["trials"]
    table = Table(title="Each training environment, left out", title_justify="left")
    for column in ("environment", "rows", "accuracy", "nearest", "diversity"):
        table.add_column(column, justify="left" if column in ("environment", "nearest") else "right")
    for trial in trials:
        table.add_row(
            plain(trial["environment"]),
            f"{trial['count']:,}",
            f"{trial['truths']['accuracy']:.1%}",
            plain(trial["nearest"]),
            f"{trial['distance']:.2f}",
        )
    console.print(table)
    for warning in report["warnings"]:
        console.print(plain(f"! {one_line(warning)}"), style="yellow")
    if "site" not in report:
        return
    site = report["site"]
    tried = Table(title=plain(f"{site['name']}: {site['rows']:,} rows"), title_justify="left")
    tried.add_column("measure")
    tried.add_column("estimator")
    for column in ("forecast", "off in trials", "of them bias", "weight"):
        tried.add_column(column, justify="right")
    for measure, found in report["forecast"].items():
        for name, one in found["tried"].items():
            cells = (f"{one['estimate']:.1%}", f"{100 * one['error']:.1f}", f"{100 * one['bias']:+.1f}")
            tried.add_row(TITLES[measure], plain(name), *cells, f"{found['weights'][name]:.2f}")
    console.print(tried)
    console.print(plain(f"nearest environment: {site['nearest']} (diversity shift {site['distance']:.2f})"))
    for measure, found in report["forecast"].items():
        console.print(plain(f"{TITLES[measure]}: {told(found, report)}"))


def told(found: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """A measure in words: `81.2 %, 90 % interval 70.1 to 92.3 % (t over 6 environments)`."""
    forecast = found["forecast"]
    if forecast is None:
        return f"{100 * found['estimate']:.1f} %; too few environments for an interval"
    over = f"{report['interval']} over {forecast['n']} environments"
    if not forecast["n"]:
        over = "too few environments: of the site's labels alone"
    return (
        f"{100 * forecast['value']:.1f} %, {100 * report['confidence']:g} % interval "
        f"{100 * forecast['low']:.1f} to {100 * forecast['high']:.1f} % "
        f"({over}{labels_told(found)})"
    )


def labels_told(found: Mapping[str, Any]) -> str:
    return f", with {found['labels']} labels" if found.get("labels") else ""
