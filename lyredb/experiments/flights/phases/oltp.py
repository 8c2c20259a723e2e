"""OLTP: flights by key, looked up and updated in transactions."""

from __future__ import annotations

from functools import partial
from struct import Struct
from typing import Any

from lyredb.experiments.flights.data import CANCELLED, FLIGHT, numpy, pandas
from lyredb.experiments.flights.phases.base import Database, Phase, Step, require

_LOOKUPS, _UPDATES = 64, 16
_MINUTES = Struct("<i")
_TOTAL = Struct("<q")


class Oltp(Phase):
    name = "oltp"
    title = "Look-ups and updates"
    story = (
        "An airline's desk: four in five operations look a flight up; one in five is a transaction that adds to its "
        "delay, and to its carrier's total in another family."
    )
    operation = "a look-up, or a transaction of two reads and two writes"

    def prepare(self) -> None:
        flights = self.data.flights
        turns = self.scaled(300)
        departed = numpy.flatnonzero(flights["dep_delay"].notna().to_numpy())
        shape = (self.blocks, turns, _LOOKUPS + _UPDATES)
        self._rows = self.random.choice(departed, shape)
        self._minutes = self.random.integers(1, 30, shape)
        self._minutes[:, :, :_LOOKUPS] = 0
        # What each operation should find: the delay as it was, and what was added to that flight up to then.
        log = pandas.DataFrame({"row": self._rows.ravel(), "minutes": self._minutes.ravel()})
        log["carrier"] = flights["carrier"].to_numpy()[log["row"]]
        before = flights["dep_delay"].to_numpy()[log["row"]].astype(numpy.int64)
        self._expected = (before + log.groupby("row")["minutes"].cumsum().to_numpy()).reshape(shape)
        late = flights[flights["dep_delay"] > 0].groupby("carrier")["dep_delay"].sum()
        self._totals_before = late.reindex(sorted(flights["carrier"].unique()), fill_value=0).astype(int)
        self._totals_after = self._totals_before.add(log.groupby("carrier")["minutes"].sum(), fill_value=0)
        self._added = int(log["minutes"].sum())

    def load(self, database: Database) -> None:
        records = self.data.flight_records
        database.family("flights").write_batch(
            (numpy.array(self.data.flight_keys), records.view(f"V{FLIGHT.itemsize}"))
        )
        database.family("totals").write_batch(
            {carrier.encode(): _TOTAL.pack(total) for carrier, total in self._totals_before.items()}
        )

    def steps(self, database: Database, block: int) -> list[Step]:
        keys = self.data.flight_keys
        look_up = database.family("flights").get
        update = partial(_add_delay, database)
        steps: list[Step] = []
        for rows, minutes in zip(self._rows[block].tolist(), self._minutes[block].tolist(), strict=True):
            steps.append(Step(look_up, [keys[row] for row in rows[:_LOOKUPS]]))
            updates = zip(rows[_LOOKUPS:], minutes[_LOOKUPS:], strict=True)
            steps.append(Step(update, [(keys[row], added) for row, added in updates]))
        return steps

    def check(self, database: Database, block: int, answers: list[Any]) -> None:
        flights, keys = self.data.flights, self.data.flight_keys
        rows, expected = self._rows[block].ravel(), self._expected[block].ravel()
        for row, answer in zip(rows, answers, strict=True):
            require(answer is not None, f"flight {keys[row]!r} is not there")
        found = numpy.frombuffer(b"".join(answers), dtype=FLIGHT)
        columns = (
            ("flight", "flight"),
            ("carrier", "carrier"),
            ("destination", "dest"),
            ("scheduled_departure", "sched_dep_time"),
        )
        for field, column in columns:
            same = _text(found[field]) == flights[column].to_numpy()[rows].astype(str)
            require(bool(same.all()), f"the {column} of flight {keys[rows[same.argmin()]]!r}")
        same = found["departure_delay_minutes"] == expected
        at = int(same.argmin())
        require(
            bool(same.all()),
            f"the delay of flight {keys[rows[at]]!r} is {found['departure_delay_minutes'][at]} minutes, "
            f"not {expected[at]}",
        )

    def finish(self, database: Database) -> dict[str, str]:
        for carrier, total in self._totals_after.items():
            found = _TOTAL.unpack(database.family("totals")[carrier.encode()])[0]
            require(found == total, f"the delays of carrier {carrier} add up to {found} minutes, not {total:.0f}")
        records: Any = database.family("flights").scan().values().to_numpy()
        delays = records.view(FLIGHT)["departure_delay_minutes"]
        total = int(delays[delays != CANCELLED].sum(dtype=numpy.int64))
        expected = int(self.data.flights["dep_delay"].sum()) + self._added
        require(total == expected, f"all delays add up to {total} minutes, not {expected}")
        return {}


def _add_delay(database: Database, update: tuple[bytes, int]) -> bytes:
    key, minutes = update
    with database.transaction() as t:
        flights, totals = t.family("flights"), t.family("totals")
        record = bytearray(flights[key])
        _MINUTES.pack_into(record, 0, _MINUTES.unpack_from(record)[0] + minutes)
        changed = bytes(record)
        flights[key] = changed
        carrier = key[16:18]
        totals[carrier] = _TOTAL.pack(_TOTAL.unpack(totals[carrier])[0] + minutes)
    return changed


def _text(column: Any) -> Any:
    """Text of bytes, or of numbers."""
    return numpy.char.decode(column) if column.dtype.kind == "S" else column.astype(str)
