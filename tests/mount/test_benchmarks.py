"""The program that measures: with tiny sizes, so that it does not rot."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "scripts" / "bench.py"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAM), *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "suites",
    [
        ["list"],
        pytest.param(
            ["requests", "cloud", "sequential", "random", "small", "memory", "writeback"],
            marks=pytest.mark.long,
        ),
    ],
)
def test_quick_run(suites: list[str], tmp_path: Path) -> None:
    work, results, picture = tmp_path / "work", tmp_path / "results", tmp_path / "picture.png"
    files = ["--work", str(work), "--json", str(results), "--plot", str(picture)]
    done = bench("--quick", *files, *suites)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(results.read_text())
    assert list(found["suites"]) == suites
    assert found["machine"]["cores"] == os.cpu_count()
    for suite in found["suites"].values():
        assert suite["rows"]
        for row in suite["rows"]:
            assert row["what"] in done.stdout
            # A speed of nothing would be a measurement of nothing.
            assert row["measured"] > 0 or row["unit"] in ("requests", "s")
    requests = found["suites"].get("requests", {"rows": []})["rows"]
    assert not [row for row in requests if row["missed"]]
    if importlib.util.find_spec("matplotlib"):
        assert picture.read_bytes().startswith(b"\x89PNG")
    else:
        assert "pip install -e '.[bench]'" in done.stderr
    assert list(work.iterdir()) == []


def test_an_unknown_suite() -> None:
    done = bench("sequental")
    assert done.returncode == 2
    assert "sequential" in done.stderr
