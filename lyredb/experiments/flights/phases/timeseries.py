"""Time series: hourly weather, appended as it comes and read by window."""

from __future__ import annotations

from functools import partial
from itertools import islice
from struct import Struct
from typing import Any, NamedTuple

from lyredb.experiments.flights.data import numpy, pandas
from lyredb.experiments.flights.phases.base import Database, Phase, Step, WrongAnswer
from lyredb.experiments.flights.phases.mirror import Mirror

_MEASURES = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
_STATIONS = ("EWR", "JFK", "LGA")
_KEY = Struct(">3sI")
_TEMPERATURE, _WIND = _MEASURES.index("temp"), _MEASURES.index("wind_speed")
_WINDOWS_HOURS = (24, 168)
_WEEKS_SHARE = 1 / 7
# Windows asked for after each hour.
_QUESTIONS = 2
_YEAR_HOURS = 24 * 366
# Years of readings that are there before anything is asked.
_HISTORY_YEARS = 2


class Asked(NamedTuple):
    """By question, whose weather, and of which of `_WINDOWS_HOURS`."""

    stations: Any
    windows: Any


class TimeSeries(Phase[Asked]):
    name = "timeseries"
    title = "Appends and windows"
    story = (
        "Three weather stations report every hour; after each report two people ask one of them for the mean "
        "temperature and the strongest wind of the last day or week. The year is replayed, one year on each time."
    )
    operation = "an appended reading, or a window of 24 or 168 of them"
    families = ("weather",)

    def prepare(self) -> None:
        weather = self.data.weather
        hours = (weather["time"] - pandas.Timestamp("2013-01-01", tz="UTC")) // pandas.Timedelta(hours=1)
        self._hours = hours.to_numpy()
        self._stations = [station.encode() for station in weather["origin"]]
        self._readings = [row.tobytes() for row in weather[list(_MEASURES)].to_numpy(dtype="<f8")]
        self._times = numpy.unique(self._hours)
        self._hours_a_block = self.scaled(8_500)
        self._blocks_a_year = len(self._times) // self._hours_a_block
        # The same questions to pandas: rolling windows that end with the hour, by window, station and hour.
        self._expected = numpy.stack([_rolling(weather, length, self._hours[-1] + 1) for length in _WINDOWS_HOURS])
        rows = range(self._rows_of(0).start, self._rows_of(self._blocks_a_year - 1).stop)
        self._history = [record for year in range(_HISTORY_YEARS) for record in self._records(rows, year * _YEAR_HOURS)]

    def load(self, database: Database) -> None:
        database.family("weather").write_batch(self._history)

    def draw(self, random: Any) -> Asked:
        count = self._hours_a_block * _QUESTIONS
        windows = random.random(count) < _WEEKS_SHARE
        return Asked(random.integers(0, len(_STATIONS), count), windows.astype(int))

    def steps(self, database: Database, mirror: Mirror, work: Asked) -> list[Step]:
        weather = database.family("weather")
        append, window = partial(_append, weather), partial(_window, weather)
        year, part = divmod(mirror.weather_blocks, self._blocks_a_year)
        shift = (_HISTORY_YEARS + year) * _YEAR_HOURS
        rows = self._rows_of(part)
        records = self._records(rows, shift)
        times = self._times_of(part)
        ends = (numpy.searchsorted(self._hours, times, side="right") - rows.start).tolist()
        steps: list[Step] = []
        begin = 0
        asked = zip(work.stations.tolist(), work.windows.tolist(), strict=True)
        for hour, end in zip((times + shift).tolist(), ends, strict=True):
            steps.append(Step(append, records[begin:end]))
            steps.append(
                Step(window, [_bounds(station, hour, length, shift) for station, length in islice(asked, _QUESTIONS)])
            )
            begin = end
        return steps

    def check(self, mirror: Mirror, work: Asked, answers: list[Any]) -> None:
        times = numpy.repeat(self._times_of(mirror.weather_blocks % self._blocks_a_year), _QUESTIONS)
        found = numpy.array([answer for answer in answers if answer is not None])
        expected = self._expected[work.windows, work.stations, times]
        same = numpy.isclose(found, expected, equal_nan=True).all(axis=1)
        if not same.all():
            at = int(same.argmin())
            raise WrongAnswer(
                f"{_WINDOWS_HOURS[work.windows[at]]} hours up to hour {times[at]} at {_STATIONS[work.stations[at]]}: "
                f"readings, mean and strongest wind are {found[at].tolist()}, not {expected[at].tolist()}"
            )
        mirror.weather_blocks += 1

    def finish(self, database: Database, mirror: Mirror) -> None:
        year, parts = divmod(mirror.weather_blocks, self._blocks_a_year)
        by_part = [len(self._rows_of(part)) for part in range(self._blocks_a_year)]
        expected = (_HISTORY_YEARS + year) * sum(by_part) + sum(by_part[:parts])
        count = database.family("weather").scan().count()
        if count != expected:
            raise WrongAnswer(f"there are {count} readings, not {expected}")

    def _times_of(self, part: int) -> Any:
        return self._times[part * self._hours_a_block : (part + 1) * self._hours_a_block]

    def _rows_of(self, part: int) -> range:
        """The readings of a part of the year, in their order."""
        times = self._times_of(part)
        first, end = numpy.searchsorted(self._hours, (times[0], times[-1] + 1)).tolist()
        return range(first, end)

    def _records(self, rows: range, shift: int) -> list[tuple[bytes, bytes]]:
        hours = (self._hours[rows.start : rows.stop] + shift).tolist()
        return [
            (_KEY.pack(self._stations[row], hour), self._readings[row]) for row, hour in zip(rows, hours, strict=True)
        ]


def _bounds(station: int, hour: int, window: int, first: int) -> tuple[bytes, bytes]:
    """The keys between which a window lies that ends with an hour and begins with the year at the earliest."""
    name = _STATIONS[station].encode()
    return _KEY.pack(name, max(hour - _WINDOWS_HOURS[window] + 1, first)), _KEY.pack(name, hour + 1)


def _append(weather: Any, reading: tuple[bytes, bytes]) -> None:
    weather.put(*reading)


def _window(weather: Any, bounds: tuple[bytes, bytes]) -> tuple[int, float, float]:
    """How many readings there are, their mean temperature and strongest wind."""
    readings = numpy.frombuffer(b"".join(weather.scan(*bounds).values()), dtype="<f8").reshape(-1, len(_MEASURES))
    if not len(readings):
        return 0, numpy.nan, numpy.nan
    return len(readings), _mean(readings[:, _TEMPERATURE]), numpy.fmax.reduce(readings[:, _WIND])


def _mean(column: Any) -> float:
    """The mean of what was measured; a sensor's gap is no measurement."""
    measured = column[column == column]  # noqa: PLR0124 (only what is not a number differs from itself)
    return measured.mean() if len(measured) else numpy.nan


def _rolling(weather: Any, length: int, hours: int) -> Any:
    """By station and hour: how many readings there are in the hours up to then, their mean and strongest wind."""
    answers = numpy.zeros((len(_STATIONS), hours, 3))
    every_hour = pandas.date_range(weather["time"].min(), weather["time"].max(), freq="h")
    first = hours - len(every_hour)
    for place, station in enumerate(_STATIONS):
        # A station that missed an hour is asked for windows that end with it all the same.
        rows = weather[weather["origin"] == station].set_index("time").reindex(every_hour)
        windows = rows.rolling(f"{length}h")
        figures = (windows["hour"].count(), windows["temp"].mean(), windows["wind_speed"].max())
        answers[place, first:] = numpy.stack([figure.to_numpy() for figure in figures], axis=1)
    return answers
