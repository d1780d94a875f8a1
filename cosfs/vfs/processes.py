"""Owns what must be known of calling processes; must not know files."""

from __future__ import annotations

import os


def thread_group(pid: int) -> int:
    """Return the process that thread ``pid`` belongs to, 0 if it is gone or not visible here.

    The kernel hands the file system a thread's id, while descriptors belong to the process.
    """
    if pid <= 0:
        return 0
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            for line in status:
                if line.startswith(b"Tgid:"):
                    return int(line[5:])
    except OSError:
        return 0
    return 0


def is_alive(pid: int) -> bool:
    """Tell whether process ``pid`` still exists."""
    return os.path.exists(f"/proc/{pid}")
