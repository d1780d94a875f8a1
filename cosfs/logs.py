"""Owns where log lines go; must not know who writes them."""

from __future__ import annotations

import logging
import logging.handlers
from pathlib import Path

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

#: A log may grow to twice this: the file and the one before it.
_MAX_BYTES = 8 * 1024 * 1024


def install(level: str, file: Path | None) -> None:
    """Send what ``cosfs`` logs from ``level`` on, and warnings of others, to ``file`` or stderr.

    Raises:
        OSError: the file cannot be written.
    """
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler()
    else:
        handler = logging.handlers.RotatingFileHandler(
            file, maxBytes=_MAX_BYTES, backupCount=1, encoding="utf-8", errors="backslashreplace"
        )
    handler.setFormatter(logging.Formatter(_FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("cosfs").setLevel(level.upper())
    logging.captureWarnings(True)
