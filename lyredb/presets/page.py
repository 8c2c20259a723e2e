"""The documentation's page of tunables and presets, made from the registry and the preset files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lyredb.presets.machine import Machine
from lyredb.presets.preset import difference, load, names
from lyredb.presets.registry import Tunable, tunables
from lyredb.presets.sizes import format_size

_EXAMPLE = Machine(memory_bytes=16 << 30, cores=4)

_CHANGES = {"instant": "at once", "rewrite": "as pages are rewritten"}

_HEAD = """\
# Tunables and presets

<!-- Made by `make docs` from the engine's registry and the preset files; edit those instead. -->

Every knob of the engine is declared once, in its registry. A *database* setting is one for the whole database, a
*family* setting one for each family. Of what may have been set, the first of these is in force:

1. for a family, its own: given to `db.family` or to `db.configure` with its name, and kept in the database;
2. what was given to `db.configure` without a family since the database was opened, kept too: a family setting then
   holds for all families that have no value of their own, those made later included;
3. what was given to `lyredb.open`, until the database is closed;
4. what `db.configure` was given without a family in earlier openings;
5. what automatic tuning set, for the family before for the database, until the database is closed;
6. the default.

So what was said last for the whole database goes first there. `db.reset` takes back what `db.configure` set for the
same family, or for none, and what comes next in the list is in force again.

What takes hold as pages are rewritten does so page by page, when they are next written to. `db.reshape()` brings all
leaves to the size of `leaf_bytes` at once, beside readers and writers: some ten million records a second that are in
memory.

```python
import lyredb

db = lyredb.open("shop", preset="oltp", memory_bytes=2 << 30)
db.family("events", preset="timeseries", leaf_bytes=64 << 10)
db.configure("events", codec="lz4")
assert db.settings("events")["codec"] == "lz4"
db.close()
```

`lyredb tunables` prints this table, `lyredb presets NAME` what a preset sets on your machine and why.

## Tunables
"""

_PRESETS_HEAD = """\
## Presets

A preset sets what matters for a kind of work and leaves the rest alone; what you set yourself goes before it. Presets
set nothing that changes what a program can observe. They scale to the machine: the values here are those for {memory}
of memory and {cores} cores.

How memory is divided (`hot_bytes`, `warm_bytes`, `point_cache_bytes`) is planned from the work itself, as
[tiering](tiering.md) says; and of `warm_codec`, `replacement`, `absent_filter` and `readahead_bytes` no figure among
the [benchmarks](benchmarks.md) speaks for another value than the default in one of these kinds of work, so no preset
sets them.
"""


def show(knob: Tunable, value: int | str) -> str:
    """A value with its unit."""
    if isinstance(value, str):
        return value
    if value < 0:
        # It stands for something else, as the description says.
        return str(value)
    if knob.unit == "bytes":
        return format_size(value)
    return f"{value:,} {knob.unit}".rstrip()


def show_range(knob: Tunable) -> str:
    """What may be set."""
    if knob.choices:
        return ", ".join(knob.choices)
    low, high = knob.bounds
    return f"{show(knob, low)} to {show(knob, high)}"


def show_change(knob: Tunable) -> str:
    """When a change takes hold."""
    return _CHANGES[knob.change]


def render() -> str:
    """The page, as Markdown."""
    return "\n".join([*_pieces()])


def _pieces() -> Iterator[str]:
    yield _HEAD
    yield from _table(
        ("name", "for the", "range", "default", "takes hold", "tuned by presets", "what it does"),
        (
            (
                f"`{knob.name}`",
                knob.scope,
                show_range(knob),
                show(knob, knob.default),
                show_change(knob),
                "yes" if knob.tuner else "no",
                knob.description,
            )
            for knob in tunables()
        ),
    )
    yield _PRESETS_HEAD.format(memory=format_size(_EXAMPLE.memory_bytes), cores=_EXAMPLE.cores)
    for name in names():
        preset = load(name)
        yield f"### `{name}`: {preset.summary[0].lower()}{preset.summary[1:]}\n\n{preset.whom}\n"
        values = preset.on(_EXAMPLE)
        usual = {each.tunable.name: each.default for each in difference(name, **vars(_EXAMPLE))}
        yield from _table(
            ("setting", "value", "default", "why"),
            (
                (
                    f"`{key}`",
                    show(each.tunable, values[key]),
                    show(each.tunable, usual.get(key, values[key])),
                    each.why,
                )
                for key, each in preset.settings.items()
            ),
        )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""
