"""Owns what must be known of calling processes; must not know files."""

from __future__ import annotations

import os
from typing import Final

#: The line looked for is among the first; a name before it has 64 bytes, escaped.
_STATUS_SIZE: Final = 1024


def thread_group(pid: int) -> int:
    """Return the process that thread ``pid`` belongs to, 0 if it is gone or not visible here.

    The kernel hands the file system a thread's id, while descriptors belong to the process.
    """
    if pid <= 0:
        return 0
    try:
        descriptor = os.open(f"/proc/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _, found, rest = os.read(descriptor, _STATUS_SIZE).partition(b"\nTgid:")
        finally:
            os.close(descriptor)
    except OSError:
        return 0
    return int(rest.partition(b"\n")[0]) if found else 0


def is_alive(pid: int) -> bool:
    """Tell whether process ``pid`` still exists."""
    return os.path.exists(f"/proc/{pid}")
