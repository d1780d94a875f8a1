"""Every call that would change something, on a mount with ``-o ro`` and on a disk mounted so."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mount.bench import Bench
from tests.mount.posix.calls import CALLS, UTIME_NOW

NOW = (0, UTIME_NOW)

#: Call and arguments -> what it gives; names with a slash are below the mount point.
TABLE: dict[tuple[Any, ...], str] = {
    ("mkdir", "/new"): "EROFS",
    ("mkdir", "/d/new"): "EROFS",
    ("mkfifo", "/new"): "EROFS",
    ("mknod", "/new", "file"): "EROFS",
    ("mknod", "/new", "fifo"): "EROFS",
    ("mknod", "/new", "socket"): "EROFS",
    ("mknod", "/new", "char", 0o600, os.makedev(1, 3)): "EROFS",
    ("mknod", "/new", "block", 0o600, os.makedev(7, 9)): "EROFS",
    ("bind", "/new"): "EROFS",
    ("symlink", "target", "/new"): "EROFS",
    ("link", "/f", "/new"): "EROFS",
    ("open", "/new", "O_CREAT|O_RDONLY"): "EROFS",
    ("open", "/new", "O_CREAT|O_EXCL|O_WRONLY"): "EROFS",
    ("open", "/f", "O_WRONLY"): "EROFS",
    ("open", "/f", "O_RDWR"): "EROFS",
    ("open", "/f", "O_WRONLY|O_APPEND"): "EROFS",
    ("open", "/f", "O_RDONLY|O_TRUNC"): "EROFS",
    ("open", "/f", "O_RDWR|O_CREAT|O_TRUNC"): "EROFS",
    ("open", "/l", "O_WRONLY"): "EROFS",
    ("truncate", "/f", 0): "EROFS",
    ("truncate", "/f", 100): "EROFS",
    ("unlink", "/f"): "EROFS",
    ("unlink", "/l"): "EROFS",
    ("rmdir", "/d"): "EROFS",
    ("rmdir", "/empty"): "EROFS",
    ("rename", "/f", "/new"): "EROFS",
    ("rename", "/f", "/d/f"): "EROFS",
    ("rename", "/empty", "/new"): "EROFS",
    ("chmod", "/f", 0o600): "EROFS",
    ("chmod", "/d", 0o700): "EROFS",
    ("fchmod", "/f", 0o600): "EROFS",
    ("chown", "/f", 1, 1): "EROFS",
    ("chown", "/f", -1, -1): "EROFS",
    ("lchown", "/l", 1, 1): "EROFS",
    ("fchown", "/d", 1, 1): "EROFS",
    ("utimensat", "/f", (1, 0), (2, 0)): "EROFS",
    ("utimensat", "/f", NOW, NOW): "EROFS",
    ("utimensat", "/l", NOW, NOW, 0x100): "EROFS",
    ("utimensat_now", "/f"): "EROFS",
    ("futimens", "/d", (1, 0), (2, 0)): "EROFS",
    ("setxattr", "/f"): "EROFS",
    ("setxattr", "/d"): "EROFS",
    ("removexattr", "/f"): "EROFS",
    ("access", "/f", os.W_OK): "EROFS",
    ("access", "/d", os.W_OK): "EROFS",
    # What is there, or is missing, is said first where Linux says it first.
    ("mkdir", "/d"): "EEXIST",
    ("mkdir", "/missing/new"): "ENOENT",
    ("mkdir", "/f/new"): "ENOTDIR",
    ("symlink", "target", "/f"): "EEXIST",
    ("open", "/f", "O_CREAT|O_EXCL|O_RDWR"): "EEXIST",
    ("open", "/missing", "O_WRONLY"): "ENOENT",
    ("open", "/d", "O_WRONLY"): "EISDIR",
    ("truncate", "/missing", 0): "ENOENT",
    ("truncate", "/d", 0): "EISDIR",
    ("chmod", "/missing", 0o600): "ENOENT",
    # Nothing is changed by these.
    ("open", "/f", "O_RDONLY"): "ok",
    ("open", "/f", "O_RDONLY|O_CREAT"): "ok",
    ("open", "/p", "O_WRONLY|O_NONBLOCK"): "ENXIO",
    ("open", "/p", "O_RDWR|O_NONBLOCK"): "ok",
    ("access", "/f", os.R_OK): "ok",
    ("access", "/p", os.W_OK): "ok",
    ("stat", "/f"): "ok",
    ("readlink", "/l"): "ok",
    ("opendir", "/d"): "ok",
    ("getxattr", "/f", "user.biz_attr"): "ok",
    ("listxattr", "/f"): "ok",
    ("flock", "/f"): "ok",
    ("statvfs", "/f"): "ok",
}  # fmt: skip

FILL = "echo content > f; mkdir d empty; echo x > d/x; ln -s f l; mkfifo p"


def outcome(top: Path, call: str, *args: Any) -> str:
    placed = [f"{top}{arg}" if str(arg).startswith("/") else arg for arg in args]
    try:
        CALLS[call](*placed)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


@pytest.fixture
def disk(bench: Bench) -> Iterator[Path]:
    """A file system of the kernel's own, mounted read-only."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs takes root")
    folder = bench.folder / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "cosfs-test", folder], check=True)
    try:
        bench.sh(FILL, cwd=folder)
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_every_change_is_refused(bench: Bench, disk: Path) -> None:
    with bench.mounted() as mount:
        mount.sh(f"{FILL}; setfattr -n user.biz_attr -v text f; chmod 640 f")
        mount.umount()
    with bench.mounted("ro") as mount:
        before = mount.sh("ls -lR --full-time")
        bench.server.reset_stats()
        found = {key: outcome(mount.path, *key) for key in TABLE}
        asked = bench.server.stats()["requests"]["by_op"]
        assert found == TABLE
        # tmpfs has no extended attributes of users before Linux 6.6.
        without = {key: is_ for key, is_ in TABLE.items() if "xattr" not in key[0]}
        assert {key: outcome(disk, *key) for key in without} == without
        assert {op for op, count in asked.items() if count} <= {"stat", "list", "download"}
        assert mount.sh("ls -lR --full-time") == before
