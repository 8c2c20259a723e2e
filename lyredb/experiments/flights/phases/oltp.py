"""OLTP: flights by key, looked up and updated in transactions."""

from __future__ import annotations

from functools import partial
from struct import Struct
from typing import Any, NamedTuple

from lyredb.experiments.flights.data import FLIGHT, numpy, pandas
from lyredb.experiments.flights.phases.base import Database, Phase, Step, WrongAnswer, load_flights
from lyredb.experiments.flights.phases.mirror import Mirror

_LOOKUPS, _UPDATES = 64, 16
_MINUTES = Struct("<i")
_TOTAL = Struct("<q")


class Desk(NamedTuple):
    """Rows of flights that are looked up or, with minutes to add, updated."""

    rows: Any
    minutes: Any


class Oltp(Phase[Desk]):
    name = "oltp"
    title = "Look-ups and updates"
    story = (
        "An airline's desk: four in five operations look a flight up; one in five is a transaction that adds to its "
        "delay, and to its carrier's total in another family."
    )
    operation = "a look-up, or a transaction of two reads and two writes"
    families = ("flights", "totals")

    def prepare(self) -> None:
        flights = self.data.flights
        self._departed = numpy.flatnonzero(flights["dep_delay"].notna().to_numpy())
        self._carriers = flights["carrier"]
        self._before = flights["dep_delay"].fillna(0).astype(int)
        late = flights[flights["dep_delay"] > 0].groupby("carrier")["dep_delay"].sum()
        self._totals = late.reindex(sorted(self._carriers.unique()), fill_value=0).astype(int)
        self._columns = {
            "flight": flights["flight"].to_numpy(),
            "carrier": flights["carrier"].to_numpy(dtype="S2"),
            "destination": flights["dest"].to_numpy(dtype="S3"),
            "scheduled_departure": flights["sched_dep_time"].to_numpy(),
        }

    def load(self, database: Database) -> None:
        load_flights(database, self.data)
        totals = {carrier.encode(): _TOTAL.pack(total) for carrier, total in self._totals.items()}
        database.family("totals").write_batch(totals)

    def draw(self, random: Any) -> Desk:
        shape = (self.scaled(1_500), _LOOKUPS + _UPDATES)
        minutes = random.integers(1, 30, shape)
        minutes[:, :_LOOKUPS] = 0
        return Desk(random.choice(self._departed, shape), minutes)

    def steps(self, database: Database, mirror: Mirror, work: Desk) -> list[Step]:
        del mirror
        keys = self.data.flight_keys
        look_up = database.family("flights").get
        update = partial(_add_delay, database)
        steps: list[Step] = []
        for rows, minutes in zip(work.rows.tolist(), work.minutes.tolist(), strict=True):
            steps.append(Step(look_up, [keys[row] for row in rows[:_LOOKUPS]]))
            updates = zip(rows[_LOOKUPS:], minutes[_LOOKUPS:], strict=True)
            steps.append(Step(update, [(keys[row], added) for row, added in updates]))
        return steps

    def check(self, mirror: Mirror, work: Desk, answers: list[Any]) -> None:
        rows, minutes = work.rows.ravel(), work.minutes.ravel()
        if None in answers:
            raise WrongAnswer(f"flight {self._key(rows[answers.index(None)])} is not there")
        found = numpy.frombuffer(b"".join(answers), dtype=FLIGHT)
        for field, column in self._columns.items():
            same = found[field] == column[rows]
            if not same.all():
                raise WrongAnswer(f"the {field} of flight {self._key(rows[same.argmin()])}")
        # What each operation should find: the delay as it was, and what was added to that flight up to then.
        log = pandas.DataFrame({"row": rows, "minutes": minutes})
        expected = mirror.delays[rows] + log.groupby("row")["minutes"].cumsum().to_numpy()
        same = found["departure_delay_minutes"] == expected
        if not same.all():
            at = int(same.argmin())
            raise WrongAnswer(
                f"the delay of flight {self._key(rows[at])} is {found['departure_delay_minutes'][at]} minutes, "
                f"not {expected[at]}"
            )
        numpy.add.at(mirror.delays, rows, minutes)
        mirror.by_day = None

    def finish(self, database: Database, mirror: Mirror) -> None:
        records: Any = database.family("flights").scan().values().to_numpy()
        same = records.view(FLIGHT)["departure_delay_minutes"] == mirror.delays
        if not same.all():
            raise WrongAnswer(f"the delay of flight {self._key(same.argmin())} is not the one that was written last")
        departed = self._departed
        added = pandas.Series(mirror.delays[departed] - self._before.to_numpy()[departed])
        totals = self._totals.add(added.groupby(self._carriers.to_numpy()[departed]).sum(), fill_value=0)
        for carrier, total in totals.items():
            found = _TOTAL.unpack(database.family("totals")[carrier.encode()])[0]
            if found != total:
                raise WrongAnswer(f"the delays of carrier {carrier} add up to {found} minutes, not {total:.0f}")

    def _key(self, row: Any) -> str:
        return self.data.flight_keys[int(row)].decode()


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
