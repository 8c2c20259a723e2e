"""OLAP: scans that aggregate the delays of a span of days by carrier."""

from __future__ import annotations

from functools import partial
from typing import Any

from lyredb.experiments.flights.data import CANCELLED, FLIGHT, numpy, pandas
from lyredb.experiments.flights.phases.base import Database, Phase, Step, WrongAnswer, load_flights
from lyredb.experiments.flights.phases.mirror import Mirror

# First days, and the days after the last, counted from 1 January.
Spans = list[tuple[int, int]]
# What is asked of the flights of a carrier, in this order.
_ASKED = ("flights", "cancelled", "minutes")


class Olap(Phase[Spans]):
    name = "olap"
    title = "Aggregating scans"
    story = (
        "The monthly report: each query scans a span of two days to thirteen weeks and counts flights, cancellations "
        "and minutes of delay by carrier, of the same flights that the desk keeps updating."
    )
    operation = "a query over a span of days, some 40,000 flights on average"
    families = ("flights",)

    def prepare(self) -> None:
        days = pandas.date_range("2013-01-01", "2014-01-01")
        self._days = [day.strftime("%Y-%m-%d").encode() for day in days]
        flights = self.data.flights
        self._frame = pandas.DataFrame(
            {
                "day": flights["date"].dt.day_of_year,
                "carrier": flights["carrier"],
                "flights": 1,
                "cancelled": flights["dep_delay"].isna(),
            }
        )

    def load(self, database: Database) -> None:
        load_flights(database, self.data)

    def draw(self, random: Any) -> Spans:
        queries = self.scaled(100)
        starts = random.integers(0, 363, queries)
        ends = numpy.minimum(starts + random.integers(2, 92, queries), len(self._days) - 1)
        return list(zip(starts.tolist(), ends.tolist(), strict=True))

    def steps(self, database: Database, mirror: Mirror, work: Spans) -> list[Step]:
        del mirror
        query = partial(_by_carrier, database.family("flights"))
        return [Step(query, [(self._days[first], self._days[end]) for first, end in work])]

    def check(self, mirror: Mirror, work: Spans, answers: list[Any]) -> None:
        carriers, sums = self._sums(mirror)
        for (first, end), found in zip(work, answers, strict=True):
            counted = zip(carriers, (sums[end] - sums[first]).tolist(), strict=True)
            expected = {carrier: tuple(counts) for carrier, counts in counted if counts[0]}
            if found != expected:
                carrier = next(each for each in sorted({*found, *expected}) if found.get(each) != expected.get(each))
                raise WrongAnswer(
                    f"{carrier} from {self._days[first].decode()} to before {self._days[end].decode()}: "
                    f"{', '.join(_ASKED)} are {found.get(carrier)}, not {expected.get(carrier)}"
                )

    def _sums(self, mirror: Mirror) -> tuple[list[str], Any]:
        """By day and carrier, what is asked of all flights before that day."""
        if mirror.by_day is None:
            minutes = numpy.where(self._frame["cancelled"], 0, mirror.delays)
            table = self._frame.assign(minutes=minutes).groupby(["day", "carrier"])[list(_ASKED)].sum()
            table = table.unstack("carrier", fill_value=0).cumsum()
            carriers = table["flights"].columns.tolist()
            sums = numpy.stack([table[asked].to_numpy() for asked in _ASKED], axis=-1)
            mirror.by_day = carriers, numpy.concatenate([numpy.zeros_like(sums[:1]), sums])
        return mirror.by_day


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
