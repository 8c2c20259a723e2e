"""What a database told at one moment, as points of the catalogue's instruments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from lyredb.db.stats import Histogram, Stats
from lyredb.telemetry.catalogue import (
    COLLECTION_NAME,
    NAMESPACE,
    SYSTEM,
    SYSTEM_NAME,
    HistogramInstrument,
    Instrument,
)

Attributes: TypeAlias = dict[str, str]


class Reading:
    """One call of `Database.stats`, for all instruments."""

    def __init__(self, namespace: str, stats: Stats) -> None:
        self.namespace = namespace
        self._common = {SYSTEM_NAME: SYSTEM, NAMESPACE: namespace}
        self._database = _numbers(stats.database, stats.database_histograms)
        self._database["maintenance_failing"] = int("last_failure" in stats.database)
        self._families = {
            name: _numbers(figures, stats.family_histograms[name]) for name, figures in stats.families.items()
        }
        self._stats = stats

    def points(self, instrument: Instrument) -> Iterator[tuple[int | float, Attributes]]:
        """Values with their attributes. A figure that the database does not have just now makes no point."""
        if instrument.scope == "database":
            told = [(self._common, self._database)]
        else:
            told = [(self._of(name), numbers) for name, numbers in self._families.items()]
        for attributes, numbers in told:
            for part in instrument.parts:
                if all(figure in numbers for figure in part.figures):
                    yield sum(numbers[figure] for figure in part.figures), {**attributes, **part.attributes}

    def histograms(self, instrument: HistogramInstrument) -> Iterator[tuple[Histogram, Attributes]]:
        """Those that have counted something, with their attributes."""
        if instrument.scope == "database":
            told = [(self._common, self._stats.database_histograms)]
        else:
            told = [(self._of(name), each) for name, each in self._stats.family_histograms.items()]
        for attributes, histograms in told:
            for part in instrument.parts:
                for name in part.figures:
                    if histograms[name].buckets:
                        yield histograms[name], {**attributes, **part.attributes}

    def _of(self, family: str) -> Attributes:
        return {**self._common, COLLECTION_NAME: family}


def _numbers(figures: Mapping[str, int | float | str], histograms: Mapping[str, Histogram]) -> dict[str, int | float]:
    numbers = {name: figure for name, figure in figures.items() if not isinstance(figure, str)}
    for name, histogram in histograms.items():
        numbers[f"{name}.count"] = histogram.count
        numbers[f"{name}.total"] = histogram.total
    return numbers
