"""No reader on the same mount ever finds neither name while a file or folder is renamed.

``open`` is not among the looks: libfuse 2 forgets the node of a file that is replaced, so that an
``open`` which had found it just before says ENOENT.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mount.bench import Bench

#: Looks without end for a name that is always there; ends when its input does.
_READER = """
import os, select, sys
looks = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    for what, is_there in (
        ("stat", lambda: os.path.exists("target")),
        ("listdir", lambda: "target" in os.listdir(".")),
    ):
        assert is_there(), what
        looks += 1
    if looks == 2:
        print("begun", flush=True)
print(looks)
"""

#: Follows a chain of renames 0 -> 1 -> 2...: at each moment the last name or the next one is there.
_FOLLOWER = """
import os, sys
at, last = 0, int(sys.argv[1])
print("begun", flush=True)
while at < last:
    if not os.path.lexists(str(at)):
        assert any(os.path.lexists(str(n)) for n in range(at + 1, last + 1)), at
        at += 1
print(at)
"""


def begin(program: str, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n", process.communicate()
    return process


def end(process: subprocess.Popen[str]) -> int:
    said, problems = process.communicate(timeout=60)
    assert process.returncode == 0, problems
    return int(said)


@pytest.mark.parametrize("state", ["closed", "open"])
def test_a_name_that_is_replaced_is_always_there(bench: Bench, state: str) -> None:
    """An open target is replaced in two halves."""
    with bench.mounted() as mount:
        (mount.path / "target").write_text("0")
        reader = begin(_READER, mount.path)
        for n in range(15):
            (mount.path / "next").write_text(f"{n}")
            if state == "open":
                with open(mount.path / "target") as held:
                    os.rename(mount.path / "next", mount.path / "target")
                    held.read()
            else:
                os.rename(mount.path / "next", mount.path / "target")
        assert end(reader) > 2


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_one_of_two_names_is_always_there(bench: Bench, kind: str) -> None:
    with bench.mounted() as mount:
        if kind == "file":
            (mount.path / "0").write_text("content")
        else:
            (mount.path / "0").mkdir()
            (mount.path / "0/file").write_text("content")
        follower = begin(_FOLLOWER, mount.path, "15")
        for n in range(15):
            os.rename(mount.path / str(n), mount.path / str(n + 1))
        assert end(follower) == 15
