"""The tables of the documentation's page on telemetry, made from the catalogue.

`python -m lyredb.telemetry.page docs/telemetry.md` puts them there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lyredb.telemetry.catalogue import HISTOGRAMS, INSTRUMENTS, LEFT_OUT, HistogramInstrument, Instrument

_BEGIN = "<!-- instruments: made by `make docs` from lyredb/telemetry/catalogue.py -->"
_END = "<!-- end of instruments -->"


def updated(page: str) -> str:
    """The page with the tables as they are to be."""
    head, begin, rest = page.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not (begin and end):
        raise ValueError("the page has no place for the table of instruments")
    return "\n".join((head + begin, "", *_tables(), end + tail))


def _tables() -> Iterator[str]:
    for scope, title in (("family", "By family"), ("database", "By database")):
        yield f"### {title}\n"
        yield "| name | kind | unit | by | meaning |\n| --- | --- | --- | --- | --- |"
        for each in INSTRUMENTS:
            if each.scope == scope:
                yield _row(each, each.kind)
        yield ""
    yield "### Histograms\n\nWith `telemetry.with_histograms` only.\n"
    yield "| name | of each | unit | by | meaning |\n| --- | --- | --- | --- | --- |"
    for each in HISTOGRAMS:
        yield _row(each, each.scope)
    yield "\nOf the figures of `db.stats()` these are left out:\n"
    for figure, why in LEFT_OUT.items():
        yield f"- `{figure}`: {why}."
    yield ""


def _row(instrument: Instrument | HistogramInstrument, kind: str) -> str:
    names = {name for part in instrument.parts for name in part.attributes}
    by = "; ".join(f"`{name}`: {_values(instrument, name)}" for name in sorted(names))
    return f"| `{instrument.name}` | {kind} | `{instrument.unit}` | {by} | {instrument.description} |"


def _values(instrument: Instrument | HistogramInstrument, attribute: str) -> str:
    return ", ".join(part.attributes[attribute] for part in instrument.parts)


def main(arguments: Sequence[str]) -> None:
    """Brings the pages up to date."""
    for argument in arguments:
        path = Path(argument)
        path.write_text(updated(path.read_text()))


if __name__ == "__main__":
    main(sys.argv[1:])
