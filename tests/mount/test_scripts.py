"""The scripts that a newcomer runs."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    path = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(path)], check=True)
    return path


@pytest.fixture
def environ(tmp_path: Path, clone: Path) -> Iterator[dict[str, str]]:
    data = tmp_path / "data"
    yield {**os.environ, "XDG_DATA_HOME": str(data), "XDG_STATE_HOME": str(tmp_path / "state")}
    pid = data / "cosfs-quickstart" / "server.pid"
    if pid.exists():
        subprocess.run(["kill", pid.read_text().strip()], check=False)


@pytest.mark.timeout(400)
def test_quickstart_in_a_clean_clone(
    tmp_path: Path, clone: Path, environ: dict[str, str]
) -> None:
    point = tmp_path / "mount point"

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def quickstart() -> str:
        return run(str(clone / "scripts" / "quickstart.sh"), "mount point")

    try:
        said = quickstart()
        assert os.path.ismount(point)
        assert "user.x-cos-meta-owner" in said and '"requests"' in said
        umount = re.search(r"unmount: +(.+ umount) (.+)", said)
        assert umount is not None and umount[2] == str(point)
        assert f"The data is in {tmp_path}/data/cosfs-quickstart/data." in said
        (point / "mine").write_text("hello")

        assert "cosfs mount demo" not in quickstart(), "it is mounted still"
        run(umount[1].split()[0], "umount", str(point))
        assert not os.path.ismount(point)
        run("sh", "-c", re.search(r"stop the server: +(kill \d+)", said)[1])  # type: ignore[index]

        quickstart()
        assert (point / "mine").read_text() == "hello"
        run(umount[1].split()[0], "umount", str(point))
    finally:
        if os.path.ismount(point):
            subprocess.run(["umount", "-l", str(point)], check=False)
