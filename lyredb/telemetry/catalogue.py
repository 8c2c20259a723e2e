"""The instruments: names, units, meanings, and the figures of `Database.stats` that they show.

Names follow OpenTelemetry's conventions: no plurals, no `_total`, units of UCUM, and what the semantic conventions for
databases name is named as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["counter", "up-down counter", "gauge"]
Scope: TypeAlias = Literal["database", "family"]

SYSTEM = "lyredb"

SYSTEM_NAME = "db.system.name"
NAMESPACE = "db.namespace"
COLLECTION_NAME = "db.collection.name"
OPERATION_NAME = "db.operation.name"
BATCH_SIZE = "db.operation.batch.size"

OPERATIONS = ("get", "put", "delete", "batch", "scan")


@dataclass(frozen=True)
class Part:
    """One point of an instrument: the sum of some figures, and the attributes that set it apart from the others."""

    figures: tuple[str, ...]
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Instrument:
    """An observable instrument. It has a point for each part, by database or by family."""

    name: str
    kind: Kind
    unit: str
    description: str
    scope: Scope
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class HistogramInstrument:
    """A histogram that the engine keeps: those of `Stats` whose names are in `parts`, with their attributes."""

    name: str
    unit: Literal["s", "{row}"]
    description: str
    scope: Scope
    parts: tuple[Part, ...]


def _only(*figures: str) -> tuple[Part, ...]:
    return (Part(figures),)


def _by(attribute: str, **figures: str | tuple[str, ...]) -> tuple[Part, ...]:
    return tuple(
        Part((named,) if isinstance(named, str) else named, {attribute: value}) for value, named in figures.items()
    )


_OF_FAMILIES = (
    Instrument(
        "lyredb.operation.count",
        "counter",
        "{operation}",
        "Operations that came to their end, all of them; a multi_get counts as its keys, a batch once.",
        "family",
        _by(
            OPERATION_NAME,
            get=("gets_found", "gets_absent"),
            put="puts",
            delete="deletes",
            batch="batches",
            scan="scans",
        ),
    ),
    Instrument(
        "lyredb.operation.sample.count",
        "counter",
        "{operation}",
        "Operations that were timed: about one get in 256, one put or delete in 64, one batch or scan in 16.",
        "family",
        tuple(Part((f"{name}.count",), {OPERATION_NAME: name}) for name in OPERATIONS),
    ),
    Instrument(
        "lyredb.operation.sample.time",
        "counter",
        "s",
        "What the operations that were timed took inside the engine; divided by their count, the mean.",
        "family",
        tuple(Part((f"{name}.total",), {OPERATION_NAME: name}) for name in OPERATIONS),
    ),
    Instrument(
        "lyredb.operation.io",
        "counter",
        "By",
        "Keys and values written; of what was read, as much as was handed out.",
        "family",
        _by("lyredb.io.direction", read="bytes_read", write="bytes_written"),
    ),
    Instrument(
        "lyredb.get.count",
        "counter",
        "{operation}",
        "Gets by whether there was a record.",
        "family",
        _by("lyredb.get.result", found="gets_found", absent="gets_absent"),
    ),
    Instrument(
        "lyredb.get.source.count",
        "counter",
        "{operation}",
        "Gets that leaves ready in memory did not answer, by what did: single records kept, leaves kept compressed, "
        "the disk.",
        "family",
        _by("lyredb.get.source", point_cache="gets_from_records", warm="gets_from_warm", disk="gets_from_disk"),
    ),
    Instrument(
        "lyredb.batch.record.count", "counter", "{record}", "Records in batches.", "family", _only("batch_records")
    ),
    Instrument(
        "lyredb.record.expiring.count",
        "counter",
        "{record}",
        "Records written with a time to live.",
        "family",
        _only("puts_expiring"),
    ),
    Instrument(
        "lyredb.scan.row.count", "counter", "{row}", "Rows that scans fetched.", "family", _only("rows_scanned")
    ),
    Instrument(
        "lyredb.scan.leaf.count",
        "counter",
        "{page}",
        "Leaves that scans walked over.",
        "family",
        _only("leaves_scanned"),
    ),
    Instrument(
        "lyredb.scan.leaf.load.count",
        "counter",
        "{page}",
        "Of the leaves that scans walked over, those that were not in memory.",
        "family",
        _only("leaves_scanned_from_disk"),
    ),
    Instrument(
        "lyredb.leaf.load.count",
        "counter",
        "{page}",
        "Leaves read from disk, whoever needed them.",
        "family",
        _only("page_loads"),
    ),
    Instrument(
        "lyredb.leaf.eviction.count",
        "counter",
        "{page}",
        "Leaves given up in memory to make room, or kept in a smaller form.",
        "family",
        _only("evictions"),
    ),
    Instrument(
        "lyredb.leaf.early_write.count",
        "counter",
        "{page}",
        "Changed leaves written before a checkpoint came by, to make room in memory.",
        "family",
        _only("early_writes"),
    ),
    Instrument(
        "lyredb.long_value.load.count",
        "counter",
        "{value}",
        "Long values read from disk.",
        "family",
        _only("long_value_loads"),
    ),
    Instrument(
        "lyredb.transaction.conflict.count",
        "counter",
        "{conflict}",
        "Commits refused because another transaction changed the same record.",
        "family",
        _only("conflicts"),
    ),
    Instrument(
        "lyredb.tree.change.count",
        "counter",
        "{change}",
        "Changes of the tree's shape: leaves made anew with their changes, split, merged.",
        "family",
        _by("lyredb.tree.change", consolidation="consolidations", split="splits", merge="merges"),
    ),
)

_OF_DATABASES = (
    Instrument(
        "lyredb.memory.usage",
        "up-down counter",
        "By",
        "Memory held, by what for.",
        "database",
        _by(
            "lyredb.memory.kind",
            leaves="memory_leaves",
            long_values="memory_long_values",
            warm="memory_warm",
            point_cache="memory_point_cache",
            inner_pages="memory_inner_pages",
            page_references="memory_page_references",
            queues="memory_queues",
            scans="memory_scans",
            log="memory_log",
        ),
    ),
    Instrument(
        "lyredb.memory.limit",
        "up-down counter",
        "By",
        "The setting memory_bytes, which the database keeps within.",
        "database",
        _only("memory_budget"),
    ),
    Instrument(
        "lyredb.leaf.resident.count",
        "up-down counter",
        "{page}",
        "Leaves in memory, by their form: ready to use, compressed, single records of them.",
        "database",
        _by("lyredb.leaf.form", hot="leaves_hot", warm="leaves_warm", excerpt="leaves_excerpts"),
    ),
    Instrument(
        "lyredb.file.usage",
        "up-down counter",
        "By",
        "Size of the page file, by whether the space is in use.",
        "database",
        _by("lyredb.file.state", used="file_used", free="file_free"),
    ),
    Instrument(
        "lyredb.file.io",
        "counter",
        "By",
        "Bytes of pages read from the page file and written to it.",
        "database",
        _by("lyredb.io.direction", read="pages_read_bytes", write="pages_written_bytes"),
    ),
    Instrument(
        "lyredb.file.page.count",
        "counter",
        "{page}",
        "Pages read from the page file and written to it.",
        "database",
        _by("lyredb.io.direction", read="pages_read", write="pages_written"),
    ),
    Instrument(
        "lyredb.log.usage",
        "up-down counter",
        "By",
        "Size of the log since the last checkpoint, which the next one cuts.",
        "database",
        _only("log_size"),
    ),
    Instrument("lyredb.log.io", "counter", "By", "Bytes written to the log.", "database", _only("log_written")),
    Instrument(
        "lyredb.log.block.count",
        "counter",
        "{block}",
        "Blocks written to the log; each holds one commit or many.",
        "database",
        _only("log_blocks"),
    ),
    Instrument(
        "lyredb.log.sync.count", "counter", "{sync}", "Syncs of the log to the disk.", "database", _only("log_syncs")
    ),
    Instrument(
        "lyredb.log.sync.time", "counter", "s", "What all syncs of the log took.", "database", _only("log_sync_time")
    ),
    Instrument("lyredb.checkpoint.count", "counter", "{checkpoint}", "Checkpoints.", "database", _only("checkpoints")),
    Instrument(
        "lyredb.checkpoint.time", "counter", "s", "What all checkpoints took.", "database", _only("checkpoint_time")
    ),
    Instrument(
        "lyredb.version.visible",
        "gauge",
        "{version}",
        "Number of the version that a new reader sees.",
        "database",
        _only("version"),
    ),
    Instrument(
        "lyredb.version.synced",
        "gauge",
        "{version}",
        "Number of the newest version that is on the disk.",
        "database",
        _only("version_on_disk"),
    ),
    Instrument(
        "lyredb.version.oldest",
        "gauge",
        "{version}",
        "Number of the oldest version that a reader may still see.",
        "database",
        _only("oldest_snapshot_version"),
    ),
    Instrument(
        "lyredb.snapshot.count",
        "up-down counter",
        "{snapshot}",
        "Snapshots that are open, those of transactions and scans among them.",
        "database",
        _only("open_snapshots"),
    ),
    Instrument(
        "lyredb.snapshot.age",
        "gauge",
        "s",
        "Age of the oldest open snapshot; no point if none is open.",
        "database",
        _only("oldest_snapshot_age"),
    ),
    Instrument(
        "lyredb.snapshot.held_back",
        "up-down counter",
        "By",
        "Memory of old versions that the oldest open snapshot keeps.",
        "database",
        _only("held_back"),
    ),
    Instrument(
        "lyredb.maintenance.failing",
        "gauge",
        "1",
        "1 if maintenance in the background failed when it was tried last, else 0; db.stats() has the reason.",
        "database",
        _only("maintenance_failing"),
    ),
)

INSTRUMENTS: tuple[Instrument, ...] = _OF_FAMILIES + _OF_DATABASES

HISTOGRAMS: tuple[HistogramInstrument, ...] = (
    HistogramInstrument(
        "db.client.operation.duration",
        "s",
        "Duration of database client operations, inside the engine; of a sample, which lyredb.operation.sample.count "
        "counts.",
        "family",
        tuple(Part((name,), {OPERATION_NAME: name}) for name in OPERATIONS),
    ),
    HistogramInstrument(
        "lyredb.get.source.duration",
        "s",
        "Duration of gets that leaves ready in memory did not answer, by what did, keys that were asked for together "
        "each with its share; of a sample.",
        "family",
        _by("lyredb.get.source", warm="get_warm", disk="get_cold"),
    ),
    HistogramInstrument(
        "lyredb.scan.row.duration",
        "s",
        "Duration of a scan's fetches by row; of a sample.",
        "family",
        _only("scan_row"),
    ),
    HistogramInstrument(
        "lyredb.scan.length", "{row}", "Rows that a scan fetched, of every scan.", "family", _only("scan_length")
    ),
    HistogramInstrument(
        "lyredb.log.sync.duration", "s", "Duration of each sync of the log.", "database", _only("log_sync")
    ),
    HistogramInstrument(
        "lyredb.checkpoint.duration", "s", "Duration of each checkpoint.", "database", _only("checkpoint")
    ),
)

LEFT_OUT = {
    "memory_used": "the sum of `lyredb.memory.usage`",
    "file_size": "the sum of `lyredb.file.usage`",
    "oldest_snapshot_thread": "a name, not a number; `db.stats()` has it",
    "oldest_snapshot_place": "a text; `db.stats()` has it",
    "last_failure": "a text; `lyredb.maintenance.failing` says that there is one",
}
"""Figures of `Stats` that no instrument shows, and why."""
