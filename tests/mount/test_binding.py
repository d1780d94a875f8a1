"""The binding itself, on a real mount of a store in memory: errors, names, lists, threads."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.bench import COMMAND_TIMEOUT_S, wait_until

#: Mounts a store in memory in the foreground; "odd" is a name with its own way to fail.
PROGRAM = """
import logging, sys, threading
from pathlib import Path
from cosfs.clock import SystemClock
from cosfs.config import CacheOptions, DataOptions, ViewOptions
from cosfs.fuse import binding
from cosfs.fuse.operations import Operations
from cosfs.store.memory import MemoryStore
from cosfs.vfs.filesystem import FileSystem
from cosfs.vfs.types import DirEntry

logging.basicConfig(level=logging.INFO)
clock = SystemClock()
calls_of_thread = threading.local()

class Odd(FileSystem):
    def getattr(self, path, fh=None):
        if path == "/without-errno":
            raise OSError("an error without errno")
        if path == "/exit":
            raise SystemExit(0)
        if path == "/value":
            raise ValueError("x")
        if path.startswith("/count"):
            calls_of_thread.n = getattr(calls_of_thread, "n", 0) + 1
            print("count", calls_of_thread.n, flush=True)
        return super().getattr(path, fh)
    def readdir(self, fh):
        many = [DirEntry(f"name-{n:06}", n + 2, 0o100000) for n in range(int(sys.argv[3]))]
        return many or super().readdir(fh)
    def read_into(self, fh, offset, into):
        count = super().read_into(fh, offset, into)
        return len(into) + 1 if bytes(into).startswith(b"too much") else count

fs = Odd(MemoryStore(clock=clock), clock=clock, cache=CacheOptions(ttl_s=0), view=ViewOptions(),
         data=DataOptions(), spool_dir=Path(sys.argv[2]),
         journal_file=Path(sys.argv[2]) / "journal.sqlite")
options = {"fsname": "odd", "attr_timeout": "0", "entry_timeout": "0", "negative_timeout": "0"}
try:
    binding.serve(Operations(fs, clock, binding.current_caller), sys.argv[1], options,
                  on_ready=lambda: print("ready", flush=True))
finally:
    print("left", fs.stop(), flush=True)
"""


class Odd:
    def __init__(self, process: subprocess.Popen[str], path: Path) -> None:
        self.process = process
        self.path = path


@pytest.fixture
def names() -> int:
    return 0


@pytest.fixture
def odd(tmp_path: Path, names: int) -> Iterator[Odd]:
    point, spool = tmp_path / "odd", tmp_path / "spool"
    point.mkdir()
    spool.mkdir()
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(point), str(spool), str(names)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", (tmp_path / "log").read_text()
        yield Odd(process, point)
        process.terminate()
        assert process.wait(COMMAND_TIMEOUT_S) == 0
        assert "left []" in process.stdout.read()
    assert not os.path.ismount(point)


@pytest.mark.parametrize("name", ["without-errno", "exit", "value"])
def test_any_exception_is_an_io_error_and_the_mount_goes_on(odd: Odd, name: str) -> None:
    for _ in range(3):
        with pytest.raises(OSError) as caught:
            os.stat(odd.path / name)
        assert caught.value.errno == errno.EIO
    assert os.listdir(odd.path) == []


def test_more_data_than_was_asked_for_harms_nobody(odd: Odd) -> None:
    (odd.path / "f").write_text("too much")
    with pytest.raises(OSError) as caught:
        (odd.path / "f").read_text()
    assert caught.value.errno == errno.EIO


@pytest.mark.parametrize(
    "name", [b"\xff\xfe", b"\xc3", "日本".encode(), "e\u0301".encode(), b"a\x01"]
)
def test_names_of_any_bytes(odd: Odd, name: bytes) -> None:
    path = os.fsencode(odd.path) + b"/" + name
    os.mkdir(path)
    with open(path + b"/f", "w") as file:
        file.write("hi")
    os.setxattr(path + b"/f", b"user.biz_attr", b"\xff\x00\xfe")
    assert os.getxattr(path + b"/f", b"user.biz_attr") == b"\xff\x00\xfe"
    os.rename(path, path + b"2")
    assert os.listdir(os.fsencode(odd.path)) == [name + b"2"]
    assert os.listdir(path + b"2") == [b"f"]


def test_extended_attributes_and_sizes(odd: Odd) -> None:
    file = odd.path / "f"
    file.touch()
    os.setxattr(file, "user.biz_attr", b"x" * 100)
    os.setxattr(file, "user.x-cos-meta-a", b"")
    assert os.getxattr(file, "user.x-cos-meta-a") == b""
    assert {"user.biz_attr", "user.x-cos-meta-a"} <= set(os.listxattr(file))
    for size, expected in ((0, 100), (100, 100), (10, -errno.ERANGE)):
        assert raw_getxattr(file, size) == expected
    with pytest.raises(OSError) as caught:
        os.getxattr(file, "security.capability")
    assert caught.value.errno == errno.ENODATA


def raw_getxattr(file: Path, size: int) -> int:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(max(size, 1))
    found: int = libc.getxattr(os.fsencode(file), b"user.biz_attr", buffer if size else None, size)
    return found if found >= 0 else -ctypes.get_errno()


def test_times_of_every_kind(odd: Odd) -> None:
    file = odd.path / "f"
    file.touch()
    for seconds in (-5, 0, 1, 2**33):
        ns = seconds * 10**9 + 0x3FFFFFFF % 10**9
        os.utime(file, ns=(ns, ns))
        assert os.stat(file).st_mtime_ns == ns
    os.utime(file, ns=(7, 8))
    subprocess.run(["touch", "-a", "-d", "@1.5", str(file)], check=True)
    status = os.stat(file)
    assert (status.st_atime_ns, status.st_mtime_ns) == (1_500_000_000, 8)


def test_threads_are_pythons_own_and_stay(odd: Odd) -> None:
    """A thread-local counter counts on, which it never did on libfuse's own threads."""
    assert odd.process.stdout is not None
    highest = 0
    for n in range(400):
        assert not (odd.path / f"count{n}").exists()
        highest = max(highest, int(odd.process.stdout.readline().split()[1]))
    assert highest > 1


def test_hard_links_are_not_permitted(odd: Odd) -> None:
    (odd.path / "f").touch()
    with pytest.raises(PermissionError) as caught:
        os.link(odd.path / "f", odd.path / "hard")
    assert caught.value.errno == errno.EPERM


@pytest.mark.parametrize("names", [0, 1, 5000, pytest.param(100_000, marks=pytest.mark.long)])
def test_directories_of_every_size(odd: Odd, names: int) -> None:
    with os.scandir(odd.path) as entries:
        found = [(entry.name, entry.inode(), entry.is_file()) for entry in entries]
    assert found == [(f"name-{n:06}", n + 2, True) for n in range(names)]


@pytest.mark.parametrize("names", [5000])
def test_a_directory_that_is_read_piece_by_piece(odd: Odd, names: int) -> None:
    """``telldir`` and ``seekdir`` work: a place in a listing can be come back to."""
    script = (
        "import ctypes, os, sys\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p\n"
        "libc.telldir.restype = ctypes.c_long\n"
        "d = ctypes.c_void_p(libc.opendir(os.fsencode(sys.argv[1])))\n"
        "name = lambda: ctypes.string_at(libc.readdir(d) + 19)\n"
        "first = [name() for _ in range(3000)]\n"
        "place = libc.telldir(d)\n"
        "then = [name() for _ in range(1500)]\n"
        "libc.seekdir(d, ctypes.c_long(place))\n"
        "assert [name() for _ in range(1500)] == then\n"
        "libc.rewinddir(d)\n"
        "assert [name() for _ in range(3000)] == first\n"
    )
    subprocess.run([sys.executable, "-c", script, str(odd.path)], check=True)


def test_the_kernel_may_send_many_requests_at_once(odd: Odd) -> None:
    device = os.stat(odd.path).st_dev
    control = Path(f"/sys/fs/fuse/connections/{os.minor(device)}/max_background")
    if not control.exists():
        subprocess.run(["mount", "-t", "fusectl", "none", str(control.parents[1])], check=False)
    if control.exists():
        assert int(control.read_text()) == 48


def test_a_start_that_fails_leaves_no_mount(tmp_path: Path) -> None:
    point, spool = tmp_path / "odd", tmp_path / "spool"
    point.mkdir()
    spool.mkdir()
    failing = "def start(self):\n        raise ValueError('no start')\n    def getattr(self"
    program = PROGRAM.replace("def getattr(self", failing, 1)
    done = subprocess.run(
        [sys.executable, "-c", program, str(point), str(spool), "0"],
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 1 and "ValueError: no start" in done.stderr
    assert "ready" not in done.stdout
    wait_until(lambda: not os.path.ismount(point))
