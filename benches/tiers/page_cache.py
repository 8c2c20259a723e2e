"""What the system's page cache keeps of files, and how to make it let go. Linux 6.5 or later."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_CACHESTAT = 451  # the same number on every architecture
_MADV_DONTNEED = 4

_library = ctypes.CDLL(None, use_errno=True)
# Called with the interpreter's lock held: to give it up would mean to wait for a reader that never does.
_holding = ctypes.PyDLL(None, use_errno=True)
_holding.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Found(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64) for name in ("cached", "dirty", "writeback", "evicted", "recently_evicted")
    )


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def cached_bytes(descriptor: int, offset: int = 0, length: int = 0) -> int:
    """Of a file's part, by default the whole, what is in the page cache."""
    wanted, found = _Range(offset, length), _Found()
    result = _library.syscall(
        ctypes.c_long(_CACHESTAT),
        ctypes.c_uint(descriptor),
        ctypes.byref(wanted),
        ctypes.byref(found),
        ctypes.c_uint(0),
    )
    _check(result, "cachestat")
    return found.cached * PAGE_BYTES


def supported() -> bool:
    """Whether this system can tell what the page cache holds."""
    if not sys.platform.startswith("linux"):
        return False
    descriptor = os.open(__file__, os.O_RDONLY)
    try:
        cached_bytes(descriptor)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def let_go(descriptor: int, offset: int = 0, length: int = 0) -> None:
    """Drop the clean pages that no process has mapped, and begin to write the dirty ones."""
    os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)


def drop(folder: Path) -> None:
    """Write and drop all files of a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
                let_go(descriptor)
            finally:
                os.close(descriptor)


class Mapping:
    """Where this process has a file mapped."""

    def __init__(self, path: Path) -> None:
        name = str(path.resolve())
        for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
            span, *_rest = line.split(maxsplit=1)
            if line.endswith(f" {name}"):
                self._start, self._stop = (int(end, 16) for end in span.split("-"))
                return
        raise ValueError(f"{name} is not mapped")

    def unmap(self, offset: int, length: int) -> None:
        """Take a part out of the page table: its pages stay in the page cache, and are mapped again when touched."""
        start = self._start + offset
        _check(_holding.madvise(start, min(length, self._stop - start), _MADV_DONTNEED), "madvise")
