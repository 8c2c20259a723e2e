"""OLAP: scans that aggregate the delays of a span of days by carrier."""

from __future__ import annotations

from functools import partial
from typing import Any

from lyredb.experiments.flights.data import CANCELLED, FLIGHT, numpy, pandas
from lyredb.experiments.flights.phases.base import Database, Phase, Step, require

_DAY_FORMAT = "%Y-%m-%d"


class Olap(Phase):
    name = "olap"
    title = "Aggregating scans"
    story = (
        "The monthly report: each query scans a span of two days to thirteen weeks and counts flights, cancellations "
        "and minutes of delay by carrier. Every block begins with a database just opened, so that pages come from the "
        "file first."
    )
    operation = "a query over a span of days, some 44,000 flights on average"
    reopens = True

    def prepare(self) -> None:
        days = pandas.date_range("2013-01-01", "2014-01-01")
        queries = self.scaled(40)
        starts = self.random.integers(0, 363, (self.blocks, queries))
        lengths = self.random.integers(2, 92, (self.blocks, queries))
        self._spans = [
            [(days[start], days[min(start + length, 365)]) for start, length in zip(*pair, strict=True)]
            for pair in zip(starts, lengths, strict=True)
        ]
        frame = self.data.flights
        self._frame = pandas.DataFrame(
            {
                "date": frame["date"],
                "carrier": frame["carrier"],
                "cancelled": frame["dep_delay"].isna(),
                "minutes": frame["dep_delay"].fillna(0).astype(int),
            }
        )

    def load(self, database: Database) -> None:
        values = self.data.flight_records.view(f"V{FLIGHT.itemsize}")
        database.family("flights").write_batch((numpy.array(self.data.flight_keys), values))

    def steps(self, database: Database, block: int) -> list[Step]:
        spans = [
            (first.strftime(_DAY_FORMAT).encode(), last.strftime(_DAY_FORMAT).encode())
            for first, last in self._spans[block]
        ]
        return [Step(partial(_by_carrier, database.family("flights")), spans)]

    def check(self, database: Database, block: int, answers: list[Any]) -> None:
        for (first, last), found in zip(self._spans[block], answers, strict=True):
            begin, end = self._frame["date"].searchsorted([first, last])
            wanted = (
                self._frame.iloc[begin:end]
                .groupby("carrier")
                .agg(flights=("date", "size"), cancelled=("cancelled", "sum"), minutes=("minutes", "sum"))
            )
            expected = {row.Index: (row.flights, row.cancelled, row.minutes) for row in wanted.itertuples()}
            if found != expected:
                carrier = next(each for each in sorted({*found, *expected}) if found.get(each) != expected.get(each))
                require(
                    False,
                    f"{carrier} from {first.date()} to {last.date()}: (flights, cancelled, minutes late) are "
                    f"{found.get(carrier)}, not {expected.get(carrier)}",
                )


def _by_carrier(flights: Any, span: tuple[bytes, bytes]) -> dict[str, tuple[int, int, int]]:
    """Flights, cancellations and minutes of delay, by carrier, of a span of days."""
    records = flights.scan(*span).values().to_numpy().view(FLIGHT)
    # The two letters of a carrier as a number, to count by.
    carriers = (
        records["carrier"].view("<u2") if records["carrier"].flags.contiguous else records["carrier"].copy().view("<u2")
    )
    delays = records["departure_delay_minutes"]
    cancelled = delays == CANCELLED
    counts = numpy.bincount(carriers)
    cancellations = numpy.bincount(carriers, weights=cancelled)
    minutes = numpy.bincount(carriers, weights=numpy.where(cancelled, 0, delays))
    return {
        code.tobytes().decode(): (int(counts[code]), int(cancellations[code]), int(minutes[code]))
        for code in numpy.flatnonzero(counts).astype("<u2")
    }
