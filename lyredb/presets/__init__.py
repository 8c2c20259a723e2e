"""Presets: settings that go together for a kind of work, scaled to the machine.

    >>> from lyredb import presets
    >>> presets.names()
    ['default', 'oltp', 'olap', 'cache', 'timeseries', 'graph']
    >>> presets.resolve("olap", memory_bytes=8 << 30, cores=4)["memory_bytes"] == 4 << 30
    True

`lyredb.open(path, preset="olap")`, `db.family(name, preset="olap")` and `db.apply_preset("olap")` use them.
"""

from lyredb.presets.machine import Machine, this_machine
from lyredb.presets.preset import Difference, Preset, Setting, difference, load, names, resolve
from lyredb.presets.registry import Tunable, tunable, tunables
from lyredb.presets.sizes import format_size, parse_size

__all__ = [
    "Difference",
    "Machine",
    "Preset",
    "Setting",
    "Tunable",
    "difference",
    "format_size",
    "load",
    "names",
    "parse_size",
    "resolve",
    "this_machine",
    "tunable",
    "tunables",
]
