"""Owns content that could not be stored and has no open file any more; must not know stores.

Each lies in the spool folder as ``ID.data``, with ``ID.json`` beside it that says what it is, so
that a person or a later mount finds it. Nothing here ever removes content that was not stored
since under the same path.
"""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

from cosfs.vfs.types import NotStored

log = logging.getLogger(__name__)


class Pending:
    """The list of what is not stored. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, NotStored] = {}

    def keep(self, path: str, data: Path, reason: str, wall: float) -> None:
        """Note that the content of ``path`` lies in ``data`` as it could not be stored."""
        record = {"path": path, "since": wall, "reason": reason}
        # ASCII escapes carry names that are not UTF-8 too.
        data.with_suffix(".json").write_text(json.dumps(record), encoding="ascii")
        with self._lock:
            self._kept[path] = NotStored(path, reason, str(data))
        log.error("not stored: %r: %s; its content is kept in %s", path, reason, data)

    def superseded(self, path: str) -> None:
        """Drop what is kept of ``path``: newer content was stored under that name."""
        if path not in self._kept:
            return
        with self._lock:
            kept = self._kept.pop(path, None)
        if kept is not None:
            data = Path(kept.kept_in)
            data.unlink(missing_ok=True)
            data.with_suffix(".json").unlink(missing_ok=True)

    def list(self) -> list[NotStored]:
        """Return what this mount could not store."""
        with self._lock:
            return sorted(self._kept.values(), key=lambda kept: kept.path)
