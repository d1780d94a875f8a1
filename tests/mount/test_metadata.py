"""setfattr and getfattr on a real mount, and what stands on the server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.mount.bench import Bench
from tests.mount.directly import opened

SET = {
    "user.biz_attr": b"demo",
    "user.x-cos-meta-owner": b"me",
    "user.content_type": b"text/x-demo",
    "user.cache_control": b"max-age=60",
}

CHANGES = {
    "overwrite": "echo other > f",
    "append": "echo more >> f",
    "truncate": "truncate -s 2 f",
    "rename": "mv f g; mv g f",
    "sed": "python3 -c 'f = open(\"f\", \"r+\"); f.seek(1); f.write(\"X\"); f.close()'",
}


def attributes(path: Path) -> dict[str, bytes]:
    names = [name for name in os.listxattr(path) if not name.startswith("user.cos.")]
    return {name: os.getxattr(path, name) for name in names}


def assert_all_set(bench: Bench, path: Path) -> None:
    assert attributes(path) == SET
    with opened(bench.server) as bucket:
        held = bucket.stat_file("f")
    assert held.biz_attr == "demo"
    assert {name.lower(): value for name, value in held.custom_headers.items()} == {
        "x-cos-meta-owner": "me",
        "content-type": "text/x-demo",
        "cache-control": "max-age=60",
    }


@pytest.mark.parametrize("change", CHANGES)
def test_attributes_keep_each_other_and_survive(bench: Bench, change: str) -> None:
    with bench.mounted() as mount:
        mount.sh("echo content > f; mkdir d")
        for name, value in SET.items():
            mount.sh(f"setfattr -n {name} -v {value.decode()} f")
        assert_all_set(bench, mount.path / "f")
        mount.sh("setfattr -n user.biz_attr -v note d")
        mount.sh(CHANGES[change])
        assert_all_set(bench, mount.path / "f")
        mount.umount()
    with bench.mounted() as mount:
        assert_all_set(bench, mount.path / "f")
        assert attributes(mount.path / "d") == {"user.biz_attr": b"note"}
        mount.sh(CHANGES[change])
        assert_all_set(bench, mount.path / "f")


def test_getfattr_shows_them(bench: Bench) -> None:
    with bench.mounted() as mount:
        mount.sh("echo content > f; setfattr -n user.biz_attr -v demo f")
        shown = mount.sh("getfattr -d f")
        assert 'user.biz_attr="demo"' in shown
        assert 'user.cos.sha="' in shown
        assert mount.sh("getfattr --only-values -n user.cos.filelen f") == "8"


def test_errors_are_the_ones_attr_tools_know(bench: Bench) -> None:
    with bench.mounted() as mount:
        path = mount.path / "f"
        path.write_text("content")
        for name, words in {
            "user.cos.sha": "Operation not permitted",
            "user.x-cos-meta-mode": "Operation not permitted",
            "user.x-cos-meta-Upper": "Invalid argument",
        }.items():
            with pytest.raises(OSError, match=words):
                os.setxattr(path, name, b"1")
        with pytest.raises(OSError, match="No data available"):
            os.getxattr(path, "user.biz_attr")
        with pytest.raises(OSError, match="No data available"):
            os.removexattr(path, "user.biz_attr")
        os.setxattr(path, "user.biz_attr", b"1", os.XATTR_CREATE)
        with pytest.raises(FileExistsError):
            os.setxattr(path, "user.biz_attr", b"2", os.XATTR_CREATE)
        with pytest.raises(OSError, match="No space left"):
            os.setxattr(path, "user.biz_attr", b"x" * 5000)
        with pytest.raises(OSError, match="Operation not supported"):
            os.setxattr(path, "trusted.mine", b"1")
