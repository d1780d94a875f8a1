"""Keys as long as the server takes them: everything works up to there, nothing is half done above.

A key has 850 bytes at most, counted as it is spelt on the server: ``?`` takes three there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mount.bench import Bench, Mounted

KEY_MAX = 850
#: What is kept free behind a folder, for what holds its attributes: ``.cosfs/``.
MARK = 7

#: Each is a name of 240 bytes on the server.
FILLERS = {"plain": "x" * 240, "multi-byte": "ä🦀" * 40, "substitute": "?" * 80}


def folder_of(mount: Mounted, filler: str) -> tuple[Path, int]:
    """Make folders; return the deepest, and how many bytes a name in it may have."""
    folder = mount.path / "a" / filler / filler / filler
    folder.mkdir(parents=True)
    return folder, KEY_MAX - len(f"a/{'x' * 240}/{'x' * 240}/{'x' * 240}/")


@pytest.mark.parametrize("filler", ["plain", "substitute"])
def test_the_longest_key(bench: Bench, filler: str) -> None:
    with bench.mounted() as mount:
        folder, room = folder_of(mount, FILLERS[filler])
        path, other = folder / ("f" * room), folder / ("g" * room)
        path.write_bytes(b"content")
        with open(path, "ab") as file:
            file.write(b" and more")
        path.chmod(0o600)
        os.utime(path, ns=(5, 7))
        os.setxattr(path, "user.mine", b"value")
        os.rename(path, other)
        assert os.listdir(folder) == [other.name]
        os.symlink("target", path)
        os.rename(other, path)
        os.mkfifo(other)
        deepest = folder / ("d" * (room - MARK - 1))
        deepest.mkdir(mode=0o700)
        (deepest / "1234567").write_bytes(b"x")
        mount.umount()
    with bench.mounted() as mount:
        assert path.read_bytes() == b"content and more"
        found = path.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o600, 7)
        assert os.getxattr(path, "user.mine") == b"value"
        assert stat.S_ISFIFO(other.lstat().st_mode)
        assert stat.S_IMODE(deepest.stat().st_mode) == 0o700
        with open(path, "rb+") as file:
            path.unlink()
            assert file.read() == b"content and more" and os.fstat(file.fileno()).st_nlink == 0
        mount.sh("rm -r a")
        assert os.listdir(mount.path) == []


@pytest.mark.parametrize("filler", ["multi-byte", "substitute"])
def test_a_key_that_is_too_long(bench: Bench, filler: str) -> None:
    with bench.mounted() as mount:
        folder, room = folder_of(mount, FILLERS[filler])
        small, long = mount.path / "small", folder / ("f" * (room + 1))
        small.write_bytes(b"small")
        tree = mount.path / "tree"
        (tree / "sub").mkdir(parents=True)
        for path in (tree / "first", tree / "sub" / ("k" * 120)):
            path.write_bytes(path.name.encode())
        before = mount.sh("ls -R a small tree; stat -c '%a %s %n' $(find tree small)")
        refused: list[Callable[[], object]] = [
            long.stat,
            long.touch,
            lambda: os.mkdir(long),
            lambda: os.mkdir(folder / ("d" * (room - MARK))),
            lambda: os.symlink("target", long),
            lambda: os.mkfifo(long),
            lambda: os.rename(small, long),
            # A folder whose names would become too long.
            lambda: os.rename(tree, folder / "tree"),
            lambda: os.rename(tree, folder / ("d" * (room - MARK))),
        ]
        for number, call in enumerate(refused):
            with pytest.raises(OSError, match="File name too long"):
                print(number, call())
        assert os.listdir(folder) == []
        after = mount.sh("ls -R a small tree; stat -c '%a %s %n' $(find tree small)")
        assert after == before
        assert (tree / "sub" / ("k" * 120)).read_bytes() == b"k" * 120
        mount.umount()
