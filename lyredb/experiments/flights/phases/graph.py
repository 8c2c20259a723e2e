"""Graph: the routes flown on a day, followed hop by hop."""

from __future__ import annotations

from functools import partial
from struct import Struct
from typing import Any

from lyredb.experiments.flights.data import numpy, pandas
from lyredb.experiments.flights.phases.base import Database, Phase, Step, WrongAnswer
from lyredb.experiments.flights.phases.mirror import Mirror

_ROUTE = Struct("<ii")
# A key is a day, the airport left, the airport reached, and the carrier: b"2013-07-04 EWR ORD UA".
_NEIGHBOUR = slice(15, 18)
_QUESTIONS = 2_000


class Graph(Phase[list[int]]):
    name = "graph"
    title = "Routes, hop by hop"
    story = (
        "A planner: on a given day, how many hops is it from an airport to each other one, with one carrier or with "
        "any? Routes are edges whose keys begin with the day and the airport, so that a prefix has the neighbours; "
        "whoever flies a route out flies it back."
    )
    operation = "a breadth-first search over a day's network"
    families = ("routes",)

    def prepare(self) -> None:
        flights = self.data.flights
        there = flights.groupby(["date", "origin", "dest", "carrier"], as_index=False).agg(
            flights=("key", "size"), miles=("distance", "first")
        )
        back = there.rename(columns={"origin": "dest", "dest": "origin"})[there.columns]
        routes = pandas.concat([there, back], ignore_index=True)
        routes["day"] = routes["date"].dt.strftime("%Y-%m-%d")
        self._routes = routes.drop_duplicates(["day", "origin", "dest", "carrier"])
        airports = sorted(routes["origin"].unique())
        carriers = sorted(routes["carrier"].unique())
        # A planner is asked the same again; pandas answers each question once.
        random, count = numpy.random.default_rng(2013), self.scaled(_QUESTIONS)
        questions = pandas.DataFrame(
            {
                "day": random.choice(self._routes["day"].unique(), count),
                "airport": random.choice(airports, count),
                # Half of the questions are about any carrier.
                "limit": random.choice([*carriers, *[""] * len(carriers)], count),
            }
        )
        rows = questions.itertuples(index=False)
        self._questions = [(row.day.encode(), row.airport.encode(), row.limit.encode()) for row in rows]
        self._expected = _hops_by_joins(self._routes, questions)
        edges = self._routes.sort_values(["day", "origin", "dest", "carrier"]).itertuples(index=False)
        self._records = [
            (f"{row.day} {row.origin} {row.dest} {row.carrier}".encode(), _ROUTE.pack(row.flights, row.miles))
            for row in edges
        ]

    def load(self, database: Database) -> None:
        database.family("routes").write_batch(self._records)

    def draw(self, random: Any) -> list[int]:
        return random.integers(0, len(self._questions), self.scaled(1_600)).tolist()

    def steps(self, database: Database, mirror: Mirror, work: list[int]) -> list[Step]:
        del mirror
        return [Step(partial(_hops, database.family("routes")), [self._questions[place] for place in work])]

    def check(self, mirror: Mirror, work: list[int], answers: list[Any]) -> None:
        del mirror
        for place, found in zip(work, answers, strict=True):
            wanted = self._expected[place]
            if found != wanted:
                airport = next(each for each in sorted({*found, *wanted}) if found.get(each) != wanted.get(each))
                day, start, limit = (part.decode() for part in self._questions[place])
                raise WrongAnswer(
                    f"on {day} from {start} to {airport.decode()} with {limit or 'any'}: "
                    f"{found.get(airport)} hops, not {wanted.get(airport)}"
                )


def _hops(routes: Any, question: tuple[bytes, bytes, bytes]) -> dict[bytes, int]:
    """How many hops it is on a day from an airport to each one it leads to, with one carrier or (empty) with any."""
    day, start, carrier = question
    hops = {start: 0}
    frontier = [start]
    while frontier:
        found: list[bytes] = []
        for airport in frontier:
            further = hops[airport] + 1
            keys = routes.scan(prefix=b"%b %b " % (day, airport)).keys()
            for key in keys:
                neighbour = key[_NEIGHBOUR]
                if neighbour not in hops and key.endswith(carrier):
                    hops[neighbour] = further
                    found.append(neighbour)
        frontier = found
    return hops


def _hops_by_joins(routes: Any, questions: Any) -> list[dict[bytes, int]]:
    """The same for many questions at once, by joins of pandas frames."""
    edges = routes[["day", "origin", "dest", "carrier"]].rename(columns={"origin": "airport"})
    frontier = questions.assign(question=questions.index, hops=0)
    reached = frontier
    while len(frontier):
        ahead = frontier.merge(edges, on=["day", "airport"])
        ahead = ahead[(ahead["limit"] == "") | (ahead["limit"] == ahead["carrier"])]
        ahead = ahead.assign(airport=ahead["dest"], hops=ahead["hops"] + 1)[frontier.columns]
        both = pandas.concat([reached, ahead]).drop_duplicates(["question", "airport"])
        frontier = both.iloc[len(reached) :]
        reached = both
    answers: list[dict[bytes, int]] = [{} for _ in range(len(questions))]
    for question, airport, hops in zip(reached["question"], reached["airport"], reached["hops"], strict=True):
        answers[question][airport.encode()] = int(hops)
    return answers
