"""The mount table and the checks of a mount point."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cosfs import mounts
from cosfs.errors import ConfigError
from cosfs.mounts import Mounted, parse_table

TABLE = r"""22 27 0:20 / /sys rw,nosuid - sysfs sysfs rw
27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw
42 27 0:39 / /tmp/a\040b\134c rw,nosuid,nodev - fuse.cosfs cosfs:demo/a\040b rw,user_id=1000
"""


def test_the_table() -> None:
    assert parse_table(TABLE) == [
        Mounted("/sys", "sysfs", "sysfs", None),
        Mounted("/", "ext4", "/dev/vda", None),
        Mounted("/tmp/a b\\c", "fuse.cosfs", "cosfs:demo/a b", 1000),
    ]


def test_this_machine() -> None:
    proc = mounts.mounted_at("/proc")
    assert proc is not None and proc.type == "proc"
    assert mounts.mounted_at("/proc/self") is None


def test_resolving(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert mounts.resolve(f"{tmp_path}/link/../link/") == f"{tmp_path}/real"


class TestMountpoint:
    def test_good(self, tmp_path: Path) -> None:
        mounts.check_mountpoint(str(tmp_path), nonempty=False)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="mkdir -p"):
            mounts.check_mountpoint(str(tmp_path / "x"), nonempty=False)

    def test_file(self, tmp_path: Path) -> None:
        (tmp_path / "x").touch()
        with pytest.raises(ConfigError, match="not a directory"):
            mounts.check_mountpoint(str(tmp_path / "x"), nonempty=False)

    def test_not_empty(self, tmp_path: Path) -> None:
        (tmp_path / "x").touch()
        with pytest.raises(ConfigError, match="not empty"):
            mounts.check_mountpoint(str(tmp_path), nonempty=False)
        mounts.check_mountpoint(str(tmp_path), nonempty=True)


def test_unmounting_what_is_no_mount(tmp_path: Path) -> None:
    with pytest.raises(mounts.UnmountRefused, match="mount"):
        mounts.unmount(str(tmp_path), os.environ)
