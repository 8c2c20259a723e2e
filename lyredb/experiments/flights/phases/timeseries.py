"""Time series: hourly weather, appended as it comes and read by window."""

from __future__ import annotations

from functools import partial
from struct import Struct
from typing import Any

from lyredb.experiments.flights.data import numpy, pandas
from lyredb.experiments.flights.phases.base import Database, Phase, Step, require

_MEASURES = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
_STATIONS = ("EWR", "JFK", "LGA")
_KEY = Struct(">3sI")
_TEMPERATURE, _WIND = _MEASURES.index("temp"), _MEASURES.index("wind_speed")
_WINDOWS_HOURS = (24, 24, 24, 24, 24, 24, 168)


class TimeSeries(Phase):
    name = "timeseries"
    title = "Appends and windows"
    story = (
        "Three weather stations report every hour; after each report somebody asks one of them for the mean "
        "temperature and the strongest wind of the last day or week. Each block replays the year, one year on."
    )
    operation = "an appended reading, or a window of 24 or 168 of them"

    def prepare(self) -> None:
        weather = self.data.weather
        weather = weather[: self.scaled(len(weather))]
        hours = (weather["time"] - pandas.Timestamp("2013-01-01", tz="UTC")) // pandas.Timedelta(hours=1)
        self._hours = hours.to_numpy()
        self._stations: list[str] = weather["origin"].tolist()
        self._readings = weather[list(_MEASURES)].to_numpy(dtype="<f8")
        self._times = numpy.unique(self._hours)
        count = len(self._times)
        self._asked = self.random.integers(0, len(_STATIONS), (self.blocks, count))
        self._lengths = self.random.choice(_WINDOWS_HOURS, (self.blocks, count))
        # The same questions to pandas: rolling windows that end with the hour, by station.
        self._expected = {hours: _rolling(weather, hours) for hours in set(_WINDOWS_HOURS)}

    def load(self, database: Database) -> None:
        database.family("weather")

    def steps(self, database: Database, block: int) -> list[Step]:
        weather = database.family("weather")
        shift = self._shift(block)
        values = [reading.tobytes() for reading in self._readings]
        ends = numpy.searchsorted(self._hours, self._times, side="right").tolist()
        append, window = partial(_append, weather), partial(_window, weather)
        steps: list[Step] = []
        begin = 0
        for place, end in enumerate(ends):
            hour = int(self._times[place]) + shift
            rows = range(begin, end)
            steps.append(Step(append, [(_KEY.pack(self._stations[row].encode(), hour), values[row]) for row in rows]))
            station = _STATIONS[int(self._asked[block, place])].encode()
            first = max(hour - int(self._lengths[block, place]) + 1, shift)
            steps.append(Step(window, [(_KEY.pack(station, first), _KEY.pack(station, hour + 1))]))
            begin = end
        return steps

    def check(self, database: Database, block: int, answers: list[Any]) -> None:
        found = iter(answer for answer in answers if answer is not None)
        for place, hour in enumerate(self._times):
            station = _STATIONS[int(self._asked[block, place])]
            length = int(self._lengths[block, place])
            count, mean, strongest = next(found)
            expected = self._expected[length][station, int(hour)]
            same = count == expected[0] and numpy.allclose((mean, strongest), expected[1:], equal_nan=True)
            require(
                bool(same),
                f"{length} hours up to hour {hour} at {station}: readings, mean and strongest wind are "
                f"{(count, mean, strongest)}, not {expected}",
            )

    def finish(self, database: Database) -> dict[str, str]:
        count = database.family("weather").scan().count()
        expected = self.blocks * len(self._hours)
        require(count == expected, f"there are {count} readings, not {expected}")
        return {"readings": f"{count:,}"}

    def _shift(self, block: int) -> int:
        """The hours by which a block's year comes after the first."""
        return block * 24 * 366


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


def _rolling(weather: Any, hours: int) -> dict[tuple[str, int], tuple[int, float, float]]:
    answers: dict[tuple[str, int], tuple[int, float, float]] = {}
    every_hour = pandas.date_range(weather["time"].min(), weather["time"].max(), freq="h")
    for station, rows in weather.groupby("origin"):
        # A station that missed an hour is asked for windows that end with it all the same.
        windows = rows.set_index("time").reindex(every_hour).rolling(f"{hours}h")
        frame = pandas.DataFrame(
            {"count": windows["hour"].count(), "mean": windows["temp"].mean(), "max": windows["wind_speed"].max()}
        )
        since = (frame.index - pandas.Timestamp("2013-01-01", tz="UTC")) // pandas.Timedelta(hours=1)
        for hour, count, mean, strongest in zip(since, frame["count"], frame["mean"], frame["max"], strict=True):
            answers[station, int(hour)] = (int(count), mean, strongest)
    return answers
