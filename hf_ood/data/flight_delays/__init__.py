"""Flights from New York in 2013, what was known before each took off, and whether it arrived late."""

from .builder import (
    CARRIERS,
    CONFIGURATIONS,
    FEATURE_COLUMNS,
    FlightDelaysConfig,
    check_options,
    flight_delays,
    write_flight_delays,
)
from .flights import PACKAGE, fetch_package, read_flights

__all__ = [
    "CARRIERS",
    "CONFIGURATIONS",
    "FEATURE_COLUMNS",
    "PACKAGE",
    "FlightDelaysConfig",
    "check_options",
    "fetch_package",
    "flight_delays",
    "read_flights",
    "write_flight_delays",
]
