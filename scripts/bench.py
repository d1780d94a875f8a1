#!/usr/bin/env python3
"""Measures cosfs on the local server: ``scripts/bench.py --help``.

Runs with the Python of ``.venv`` once ``scripts/lint.sh`` or ``scripts/test.sh`` has made it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

_PYTHON = Path(__file__).resolve().parents[1] / ".venv" / "bin" / "python"


def _has_everything() -> bool:
    return all(importlib.util.find_spec(name) for name in ("cosfs", "aiohttp", "requests"))


if not _has_everything():
    if Path(sys.prefix) == _PYTHON.parents[1] or not _PYTHON.exists():
        sys.exit("cosfs is not installed: run pip install -e '.[server]', or scripts/lint.sh")
    os.execv(_PYTHON, [str(_PYTHON), *sys.argv])

from benchmarks.command import main  # noqa: E402 - only now it is sure that it can be had

if __name__ == "__main__":
    sys.exit(main())
