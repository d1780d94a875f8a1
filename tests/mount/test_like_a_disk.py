"""Random system calls on the mount and on a folder of a local disk: the same must come of them.

What may differ is said in ``ALLOWED`` and ``seen_of``, and nowhere else.
"""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mount.bench import Bench

#: Results that differ: (call, on the disk, on the mount) -> why that is right.
ALLOWED: dict[tuple[str, str, str], str] = {
    ("seek", str(2**63 - 1), "0"): "where a folder ends means something to ext4 alone",
    ("read", "EINVAL", "EISDIR"): "EISDIR is what POSIX says of a folder; overlayfs does not",
}

#: So few that calls meet each other.
NAMES = ["a", "b", "c", "d e", "ü"]
FLAGS = [
    os.O_RDONLY,
    os.O_RDWR,
    os.O_WRONLY,
    os.O_RDWR | os.O_CREAT,
    os.O_RDWR | os.O_CREAT | os.O_EXCL,
    os.O_RDWR | os.O_CREAT | os.O_TRUNC,
    os.O_WRONLY | os.O_TRUNC,
    os.O_RDWR | os.O_APPEND | os.O_CREAT,
    os.O_RDONLY | os.O_DIRECTORY,
    os.O_RDONLY | os.O_NOFOLLOW,
]
XATTRS = ["user.one", "user.two"]
SLOTS = 5


class Place:
    """One of the two folders, and the descriptors that are open there."""

    def __init__(self, top: Path) -> None:
        self.top = str(top)
        self.slots: list[int | None] = [None] * SLOTS

    def at(self, path: str) -> str:
        return f"{self.top}/{path}"

    def fd(self, slot: int) -> int:
        fd = self.slots[slot]
        if fd is None:
            raise OSError(errno.EBADF, "nothing is open in this slot")
        return fd

    def put(self, slot: int, fd: int) -> None:
        if self.slots[slot] is not None:
            os.close(self.fd(slot))
        self.slots[slot] = fd

    def close(self, slot: int) -> None:
        fd, self.slots[slot] = self.fd(slot), None
        os.close(fd)

    def close_all(self) -> None:
        for slot, fd in enumerate(self.slots):
            if fd is not None:
                self.close(slot)


def seen_of(info: os.stat_result) -> tuple[object, ...]:
    """Return what must be the same: of folders neither size nor links, of times those set."""
    is_folder = stat.S_ISDIR(info.st_mode)
    sizes = () if is_folder else (info.st_size, info.st_nlink)
    was_set = info.st_mtime_ns < 10**18
    return stat.filemode(info.st_mode), info.st_uid, info.st_gid, *sizes, (
        info.st_mtime_ns if was_set and not is_folder else None
    )


Call = Callable[[Place], object]


class Calls:
    """Makes random calls; each can be made in any place."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._kinds = {
            name.removeprefix("call_"): getattr(self, name)
            for name in dir(self)
            if name.startswith("call_")
        }

    def next(self) -> tuple[str, Call]:
        """Return what will be called, in words that begin with its kind, and the call."""
        kind = self._rng.choice(list(self._kinds))
        words, call = self._kinds[kind]()
        return f"{kind} {words}", call

    def _path(self) -> str:
        return "/".join(self._rng.choices(NAMES, k=self._rng.choice([1, 1, 2, 2, 3])))

    def _slot(self) -> int:
        return self._rng.randrange(SLOTS)

    def _data(self) -> bytes:
        return self._rng.randbytes(self._rng.choice([0, 1, 100, 5000, 140_000]))

    def call_open(self) -> tuple[str, Call]:
        path, flags, slot = self._path(), self._rng.choice(FLAGS), self._slot()
        mode = self._rng.choice([0o644, 0o600])
        return f"{path} {flags:o} in {slot}", lambda place: place.put(
            slot, os.open(place.at(path), flags, mode)
        )

    call_open_again = call_open

    def call_close(self) -> tuple[str, Call]:
        slot = self._slot()
        return f"{slot}", lambda place: place.close(slot)

    def call_dup(self) -> tuple[str, Call]:
        one, other = self._slot(), self._slot()
        return f"{one} {other}", lambda place: place.put(other, os.dup(place.fd(one)))

    def call_read(self) -> tuple[str, Call]:
        slot, size = self._slot(), self._rng.choice([10, 5000, 200_000])
        return f"{slot} {size}", lambda place: os.read(place.fd(slot), size)

    def call_write(self) -> tuple[str, Call]:
        slot, data = self._slot(), self._data()
        return f"{slot} {len(data)} bytes", lambda place: os.write(place.fd(slot), data)

    def call_pwrite(self) -> tuple[str, Call]:
        slot, data, at = self._slot(), self._data(), self._rng.randrange(200_000)
        return f"{slot} {len(data)} at {at}", lambda place: os.pwrite(place.fd(slot), data, at)

    def call_seek(self) -> tuple[str, Call]:
        slot, whence = self._slot(), self._rng.choice([os.SEEK_SET, os.SEEK_END])
        return f"{slot} {whence}", lambda place: os.lseek(place.fd(slot), 0, whence)

    def call_ftruncate(self) -> tuple[str, Call]:
        slot, length = self._slot(), self._rng.choice([0, 10, 100_000])
        return f"{slot} {length}", lambda place: os.ftruncate(place.fd(slot), length)

    def call_fstat(self) -> tuple[str, Call]:
        slot = self._slot()

        def fstat(place: Place) -> object:
            info = os.fstat(place.fd(slot))
            return ("there" if info.st_nlink else "removed"), *seen_of(info)

        return f"{slot}", fstat

    def call_fsync(self) -> tuple[str, Call]:
        slot = self._slot()
        return f"{slot}", lambda place: os.fsync(place.fd(slot))

    def call_truncate(self) -> tuple[str, Call]:
        path, length = self._path(), self._rng.choice([0, 10, 100_000])
        return f"{path} {length}", lambda place: os.truncate(place.at(path), length)

    def call_stat(self) -> tuple[str, Call]:
        path = self._path()
        return path, lambda place: seen_of(os.lstat(place.at(path)))

    def call_follow(self) -> tuple[str, Call]:
        path = self._path()
        return path, lambda place: seen_of(os.stat(place.at(path)))

    def call_listdir(self) -> tuple[str, Call]:
        path = self._rng.choice(["", self._path()])
        return path, lambda place: sorted(os.listdir(place.at(path)))

    def call_mkdir(self) -> tuple[str, Call]:
        path, mode = self._path(), self._rng.choice([0o755, 0o700])
        return f"{path} {mode:o}", lambda place: os.mkdir(place.at(path), mode)

    call_mkdir_again = call_mkdir

    def call_rmdir(self) -> tuple[str, Call]:
        path = self._path()
        return path, lambda place: os.rmdir(place.at(path))

    def call_unlink(self) -> tuple[str, Call]:
        path = self._path()
        return path, lambda place: os.unlink(place.at(path))

    def call_rename(self) -> tuple[str, Call]:
        old, new = self._path(), self._path()
        return f"{old} {new}", lambda place: os.rename(place.at(old), place.at(new))

    def call_symlink(self) -> tuple[str, Call]:
        # Relative to the folder of the link, and so to the same name in both places.
        target, path = self._rng.choice(NAMES), self._path()
        return f"{target} {path}", lambda place: os.symlink(target, place.at(path))

    def call_readlink(self) -> tuple[str, Call]:
        path = self._path()
        return path, lambda place: os.readlink(place.at(path))

    def call_chmod(self) -> tuple[str, Call]:
        path, mode = self._path(), self._rng.choice([0o644, 0o755, 0o600, 0o4711])
        return f"{path} {mode:o}", lambda place: os.chmod(place.at(path), mode)

    def call_utime(self) -> tuple[str, Call]:
        path, when = self._path(), self._rng.randrange(10**18)
        return f"{path} {when}", lambda place: os.utime(place.at(path), ns=(when, when))

    def call_setxattr(self) -> tuple[str, Call]:
        path, name = self._path(), self._rng.choice(XATTRS)
        value, flags = self._rng.randbytes(20), self._rng.choice([0, 1, 2])
        return f"{path} {name} {flags}", lambda place: os.setxattr(
            place.at(path), name, value, flags
        )

    def call_getxattr(self) -> tuple[str, Call]:
        path, name = self._path(), self._rng.choice(XATTRS)
        return f"{path} {name}", lambda place: os.getxattr(place.at(path), name)

    def call_removexattr(self) -> tuple[str, Call]:
        path, name = self._path(), self._rng.choice(XATTRS)
        return f"{path} {name}", lambda place: os.removexattr(place.at(path), name)


def outcome(call: Call, place: Place) -> object:
    try:
        return call(place)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def may_differ(kind: str, wanted: object, found: object) -> bool:
    """Tell whether it is right that a call gives ``found`` on the mount, not ``wanted``."""
    if kind == "fstat" and isinstance(wanted, tuple) and wanted[0] == "removed":
        # libfuse 2 asks by a path, which a removed folder no longer has, nor has what was in it.
        return found == "ENOENT"
    return (kind, str(wanted), str(found)) in ALLOWED


def tree(top: str) -> Iterator[tuple[object, ...]]:
    """Yield all that can be seen of what is below ``top``."""
    for folder, folders, files in os.walk(top):
        folders.sort()
        for name in sorted(folders + files):
            path = os.path.join(folder, name)
            seen = seen_of(os.lstat(path))
            content: object = None
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                content = Path(path).read_bytes()
            values = {}
            if not os.path.islink(path):
                values = {one: os.getxattr(path, one) for one in mine(os.listxattr(path))}
            yield os.path.relpath(path, top), seen, content, values


def mine(names: list[str]) -> list[str]:
    return [name for name in names if name in XATTRS]


def compare(bench: Bench, steps: int, remounts: int) -> None:
    seed = int(os.environ.get("DISK_SEED") or random.SystemRandom().randrange(10**6))
    print(f"DISK_SEED={seed}")
    calls = Calls(random.Random(seed))
    local = bench.folder / "local"
    local.mkdir()
    disk = Place(local)
    for _ in range(remounts):
        with bench.mounted() as mount:
            assert list(tree(str(mount.path))) == list(tree(disk.top))
            place = Place(mount.path)
            try:
                for _ in range(steps // remounts):
                    words, call = calls.next()
                    wanted, found = outcome(call, disk), outcome(call, place)
                    print(words, "->", str(wanted)[:60])
                    assert found == wanted or may_differ(words.split()[0], wanted, found)
                disk.close_all()
            finally:
                place.close_all()
            assert list(tree(str(mount.path))) == list(tree(disk.top))
            mount.umount()


@pytest.fixture(autouse=True)
def disk_keeps_attributes(tmp_path: Path) -> None:
    try:
        os.setxattr(tmp_path, "user.one", b"")
    except OSError as error:
        pytest.skip(f"the disk to compare with keeps no extended attributes: {error}")


def test_a_thousand_calls(bench: Bench) -> None:
    compare(bench, 1000, remounts=4)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(10))
def test_twenty_thousand_calls(bench: Bench, part: int) -> None:
    compare(bench, 2000, remounts=4)
