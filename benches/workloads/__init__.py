"""The workloads, in the order of the table."""

from __future__ import annotations

from .base import Context, Measure, Result, Workload
from .gets import GetAbsent, GetUniform, GetZipf, MultiGet
from .scans import ScanArrow, ScanPairs, ScanShort
from .space import Reopen, Size
from .threads import DurablePut1, DurablePut8, GetBesideComputing, ReadersBesideWriter
from .writes import BatchArrow, BatchRandom, BatchSorted, Delete, Put
from .ycsb import YCSBA, YCSBB, YCSBC, YCSBD, YCSBE, YCSBF

__all__ = ["WORKLOADS", "Context", "Measure", "Result", "Workload"]

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        GetUniform(),
        GetZipf(),
        GetAbsent(),
        MultiGet(),
        Put(),
        BatchRandom(),
        BatchSorted(),
        BatchArrow(),
        DurablePut1(),
        DurablePut8(),
        ScanPairs(),
        ScanArrow(),
        ScanShort(),
        YCSBA(),
        YCSBB(),
        YCSBC(),
        YCSBD(),
        YCSBE(),
        YCSBF(),
        GetBesideComputing(),
        ReadersBesideWriter(),
        Delete(),
        Reopen(),
        Size(),
    )
}
