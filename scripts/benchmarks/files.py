"""Owns reading and writing a large file as a plain program does, and the time it takes."""

from __future__ import annotations

import os
import time
from pathlib import Path

from . import content
from .sizes import MIB


def read(path: Path) -> float:
    """Read a file by pieces of 1 MiB into one buffer; return the seconds from open to close."""
    buffer, total = bytearray(MIB), 0
    began = time.monotonic()
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        while count := file.readinto(buffer):
            total += count
    seconds = time.monotonic() - began
    if total != size:
        raise RuntimeError(f"{path} has {size} bytes, {total} were read")
    return seconds


def write(path: Path, size: int) -> tuple[float, float]:
    """Write a new file by pieces of 1 MiB; return the seconds of writing, and of the close."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    began = time.monotonic()
    try:
        for piece in content.slices(size):
            if os.write(descriptor, piece) != len(piece):
                raise RuntimeError(f"{path} took less than it was given")
        written = time.monotonic()
    finally:
        os.close(descriptor)
    return written - began, time.monotonic() - written
