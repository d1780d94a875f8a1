"""The local disk is full: programs are told, what was answered is not lost, the mount goes on."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.mount.bench import Bench, Mounted, wait_for_end, wait_until

MIB = 1024 * 1024
DISK_SIZE = 8 * MIB

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


class Disk:
    """A file system of 8 MiB that holds nothing but what mounts keep."""

    def __init__(self, path: Path) -> None:
        self._filler = path / "filler"

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave no room on it for the length of a ``with``."""
        with open(self._filler, "wb", buffering=0) as filler:
            for size in (MIB, 1):
                try:
                    while filler.write(b"x" * size):
                        pass
                except OSError as error:
                    assert error.errno == errno.ENOSPC
        try:
            yield
        finally:
            self._filler.unlink()


@pytest.fixture
def disk(bench: Bench) -> Iterator[Disk]:
    path = bench.folder / "state"
    path.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE},mode=700", "small", path], check=True
    )
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.fixture
def mount(bench: Bench, disk: Disk) -> Iterator[Mounted]:
    with bench.mounted() as mounted:
        yield mounted


def told(script: str, mount: Mounted, *arguments: str) -> Any:
    """Run a Python script in the mount's root; return what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=mount.path,
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


#: Writes the numbers from 0, 8 digits each, from an offset on, until there is no room. Says how
#: many bytes were taken, what write said, and what close said.
WRITE = """
import json, os, sys
name, offset, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
fd = os.open(name, os.O_WRONLY | os.O_CREAT)
content = b"".join(b"%08d" % number for number in range(3 << 20))
taken, failure, ending = 0, 0, 0
try:
    while taken < len(content):
        taken += os.pwrite(fd, content[taken:taken + step], offset + taken)
except OSError as error:
    failure = error.errno
try:
    os.close(fd)
except OSError as error:
    ending = error.errno
print(json.dumps([taken, failure, ending]))
"""

CONTENT = b"".join(b"%08d" % number for number in range(3 << 20))


def assert_usable(mount: Mounted) -> None:
    """Do a bit of everything."""
    script = """
    mkdir usable; echo one > usable/f; echo two >> usable/f; chmod 600 usable/f
    setfattr -n user.biz_attr -v text usable/f; ln -s f usable/link; mv usable used
    cat used/f used/link; stat -c %a used/f; rm -r used
    """
    assert mount.sh(script) == "one\ntwo\none\ntwo\n600\n"


@pytest.mark.parametrize("step", [1000, 128 * 1024, 3 * MIB])
def test_write_says_that_there_is_no_room(mount: Mounted, step: int) -> None:
    mount.sh("echo before > before")
    taken, failure, ending = told(WRITE, mount, "f", "0", str(step))
    assert failure == errno.ENOSPC and ending == 0
    assert 4 * MIB < taken < DISK_SIZE
    # What was taken is stored, without a byte of what was not.
    assert (mount.path / "f").read_bytes() == CONTENT[:taken]
    assert_usable(mount)
    mount.umount()
    with mount.bench.mounted() as again:
        assert (again.path / "f").read_bytes() == CONTENT[:taken]
        assert again.sh("cat before") == "before\n"
        assert_usable(again)


def test_what_did_not_fit_is_in_no_hole(mount: Mounted) -> None:
    script = """
import json, os
fd = os.open("f", os.O_RDWR | os.O_CREAT)
size = 0
try:
    while True:
        size += os.pwrite(fd, b"x" * 3_000_000, size)
except OSError:
    pass
os.ftruncate(fd, size + 1000)
print(json.dumps([size, os.pread(fd, 2000, size).hex()]))
os.close(fd)
"""
    size, hole = told(script, mount)
    assert bytes.fromhex(hole) == bytes(1000)
    assert (mount.path / "f").read_bytes() == b"x" * size + bytes(1000)


def test_cp_says_so_and_other_files_go_on(bench: Bench, mount: Mounted) -> None:
    (bench.folder / "large").write_bytes(CONTENT)
    held = os.open(mount.path / "held", os.O_WRONLY | os.O_CREAT)
    os.write(held, b"held ")
    done = subprocess.run(
        ["cp", bench.folder / "large", mount.path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "No space left on device" in done.stderr
    os.write(held, b"and written")
    os.close(held)
    mount.sh("rm large")
    mount.umount()
    with bench.mounted() as again:
        assert os.listdir(again.path) == ["held"]
        assert again.sh("cat held") == "held and written"


def test_a_change_that_needs_all_of_a_large_file(mount: Mounted) -> None:
    """The rest of the content must be fetched to store a byte: where it does not fit, close says
    so, the old content stays, and what was written is kept."""
    bench = mount.bench
    with bench.mounted(name="roomy") as other:
        # Its spool is on the same disk, but slices of zeros cost it nothing.
        other.sh("truncate -s 12M f")
    script = """
import json, os
fd = os.open("f", os.O_RDWR)
said = [os.pwrite(fd, b"new", 1)]
try:
    os.close(fd)
except OSError as error:
    said.append(error.errno)
print(json.dumps(said))
"""
    assert told(script, mount) == [3, errno.ENOSPC]
    assert (mount.path / "f").read_bytes() == bytes(12 * MIB)
    assert_usable(mount)
    ended = bench.cosfs("umount", str(mount.path))
    assert ended.returncode == 1 and "/f: " in ended.stderr


#: Changes the mode of every file until there is no room. Says what was answered to each.
CHMOD = """
import json, os
said = {}
for name in sorted(os.listdir("d")):
    try:
        os.chmod(f"d/{name}", 0o640)
        said[name] = 0
    except OSError as error:
        said[name] = error.errno
print(json.dumps(said))
"""


def modes(mount: Mounted) -> dict[str, int]:
    return {e.name: e.stat().st_mode & 0o777 for e in os.scandir(mount.path / "d")}


@pytest.mark.parametrize("ending", ["goes on", "is killed"])
def test_chmod_with_a_full_journal(bench: Bench, disk: Disk, ending: str) -> None:
    with bench.mounted() as mount:
        mount.sh("mkdir d; for i in $(seq 300); do echo $i > d/$i; done")
        with disk.full():
            # Nothing can be sent either, so that everything stays in the journal.
            bench.server.set_faults({"rules": [{"op": "update", "action": "status"}]})
            said = told(CHMOD, mount)
            print(f"{list(said.values()).count(0)} of {len(said)} were answered")
            assert set(said.values()) <= {0, errno.ENOSPC}
            for name, mode in modes(mount).items():
                assert mode == (0o644 if said[name] else 0o640)
            if ending == "is killed":
                os.kill(mount.pid, signal.SIGKILL)
                wait_for_end(mount.pid)
                bench.cosfs("umount", str(mount.path))
            bench.server.clear_faults()
        if ending == "goes on":
            assert_usable(mount)
            mount.umount()
    with bench.mounted() as mount:
        wait_until(lambda: mount.is_settled)
        mount.umount()
    with bench.mounted() as mount:
        for name, mode in modes(mount).items():
            assert mode == (0o644 if said[name] else 0o640)


def test_names_come_and_go_on_a_full_disk(bench: Bench, disk: Disk, mount: Mounted) -> None:
    mount.sh("mkdir d; echo f > d/f; echo g > g; chmod 600 g; sync g")

    def attempt(script: str) -> bool:
        done = subprocess.run(
            ["bash", "-c", script], cwd=mount.path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 or "No space left on device" in done.stderr, done.stderr
        return done.returncode == 0

    with disk.full():
        assert mount.sh("cat d/f g; ls -l d") != ""
        assert not attempt("echo new > new")
        assert not attempt("echo more >> g")
        assert attempt("touch empty")
        assert attempt("mkdir made; rmdir made; mkdir e")
        assert attempt("ln -s f link; readlink link; rm link")
        assert attempt("setfattr -n user.biz_attr -v text g")
        assert attempt("mv g h")
        was_renamed = attempt("mv d moved")
        assert mount.sh("cat moved/f" if was_renamed else "cat d/f") == "f\n"
        assert attempt("rm h")
    assert_usable(mount)
    mount.sh("mv d moved" if not was_renamed else ":")
    mount.umount()
    with bench.mounted() as again:
        # As on any file system, a file that could not be written is there all the same.
        assert sorted(os.listdir(again.path)) == ["e", "empty", "moved", "new"]
        assert again.sh("cat new empty") == ""
        assert again.sh("cat moved/f") == "f\n"


def test_the_end_of_a_mount_on_a_full_disk(bench: Bench, disk: Disk, mount: Mounted) -> None:
    mount.sh("echo f > f; chmod 600 f")
    held = os.open(mount.path / "held", os.O_WRONLY | os.O_CREAT)
    os.write(held, b"held")
    with disk.full():
        os.close(held)
        mount.umount()
    with bench.mounted() as again:
        assert again.sh("cat f held; stat -c %a f") == "f\nheld600\n"


def test_no_mount_begins_on_a_full_disk(bench: Bench, disk: Disk) -> None:
    path = bench.folder / "mnt"
    path.mkdir()
    with disk.full():
        failed = bench.cosfs("mount", "demo", str(path))
    assert failed.returncode == 2 and "No space left on device" in failed.stderr
    assert not os.path.ismount(path)
