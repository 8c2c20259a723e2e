"""Folders of stores: copied without filling their holes, measured by the blocks they occupy."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path


def _copy_sparse(source: str, target: str) -> None:
    with open(source, "rb") as reader, open(target, "wb") as writer:
        size = os.fstat(reader.fileno()).st_size
        position = 0
        while position < size:
            try:
                start = os.lseek(reader.fileno(), position, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                    break
                raise
            end = os.lseek(reader.fileno(), start, os.SEEK_HOLE)
            os.lseek(reader.fileno(), start, os.SEEK_SET)
            os.lseek(writer.fileno(), start, os.SEEK_SET)
            while start < end:
                sent = os.sendfile(writer.fileno(), reader.fileno(), None, end - start)
                if sent == 0:
                    raise OSError(errno.EIO, "source shrank while it was copied", source)
                start += sent
            position = end
        writer.truncate(size)


def copy_folder(source: Path, target: Path) -> None:
    # A writeable map is a file as long as the map: copying its holes would take longer than the
    # measurement.
    sparse = hasattr(os, "SEEK_HOLE") and hasattr(os, "sendfile") and os.uname().sysname == "Linux"
    shutil.copytree(source, target, copy_function=_copy_sparse if sparse else shutil.copyfile)


def occupied_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        if path.is_file():
            status = path.stat()
            blocks = getattr(status, "st_blocks", None)
            total += status.st_size if blocks is None else blocks * 512
    return total
