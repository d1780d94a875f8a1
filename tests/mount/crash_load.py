"""A load for a mount that will be killed: it knows of each call whether it was answered."""

from __future__ import annotations

import contextlib
import os
import random
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.mount.crash_model import Op, Tree, content, states

#: Large enough to go by slices, see ``remounter``.
LARGE = 1_500_000

XATTRS = {
    "biz_attr": b"a text",
    "x-cos-meta-owner": b"me",
    "any thing": b"\xff\n",
    "content_type": b"text/plain",
}

_FLAGS = {
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    "a": os.O_WRONLY | os.O_APPEND,
    "r": os.O_RDWR,
}


class Worker(threading.Thread):
    """Makes random calls in one folder, which nobody else changes, until one fails.

    ``possible`` is what may be stored: one tree between calls, more while one is not answered.
    """

    def __init__(self, folder: Path, tree: Tree, seed: int, *, large: bool) -> None:
        super().__init__(name=f"load of {folder}")
        self.possible = [tree]
        #: What it did, the last one not answered.
        self.ops: list[Op] = []
        self.error: OSError | None = None
        self._folder = folder
        self._random = random.Random(seed)
        self._large = large
        self._number = seed * 1000

    def __str__(self) -> str:
        return "\n".join([self.name, *map(str, self.ops[-20:]), str(self.error)])

    def run(self) -> None:
        try:
            while True:
                self._choose()()
        except OSError as error:
            self.error = error

    @property
    def _tree(self) -> Tree:
        (tree,) = self.possible
        return tree

    def _do(self, op: str, path: str, **rest: Any) -> None:
        self.ops.append({"op": op, "path": path, **rest})
        self.possible = states(self._tree, self.ops[-1])
        for _ in answers(self._folder, self.ops[-1]):
            self.possible = self.possible[1:]
        assert self._tree is not None

    # -- which calls -------------------------------------------------------------------------

    def _choose(self) -> Callable[[], None]:
        files, tops = len(self._of(stat.S_IFREG)), len(self._tops())
        if self._large and not files:
            return self._create
        if not self._large and (files < 3 or tops < 2):
            return self._make_family
        if self._large:
            kinds = {self._overwrite: 5, self._set_xattr: 1, self._chmod: 1, self._rename: 1}
        else:
            kinds = {
                self._create: 5 if files < 30 else 0,
                self._overwrite: 4,
                self._append: 3,
                self._patch: 2,
                self._truncate: 1,
                self._chmod: 3,
                self._utime: 2,
                self._chown: 1,
                self._set_xattr: 3,
                self._remove_xattr: 1,
                self._rename: 3,
                self._replace: 3,
                self._rename_folder: 3,
                self._unlink: 3,
                self._make_folder: 1 if tops < 5 else 0,
                self._remove_folder: 1,
                self._symlink: 1,
            }
        return self._random.choices(list(kinds), list(kinds.values()))[0]

    def _of(self, *kinds: int) -> list[str]:
        return sorted(path for path, node in self._tree.items() if path and node.kind in kinds)

    def _tops(self) -> list[str]:
        return [path for path in self._of(stat.S_IFDIR) if "/" not in path]

    def _file(self) -> str:
        return self._random.choice(self._of(stat.S_IFREG))

    def _is_empty(self, folder: str) -> bool:
        return not any(path.startswith(f"{folder}/") for path in self._tree)

    def _new_name(self, folder: str | None = None) -> str:
        if folder is None:
            folder = self._random.choice(["", *self._of(stat.S_IFDIR)])
        self._number += 1
        return f"{folder}/n{self._number}".lstrip("/")

    def _piece(self, size: int | None = None) -> tuple[int, int]:
        if size is None:
            size = LARGE if self._large else self._random.choice([1, 100, 3000, 150_000])
        return self._random.getrandbits(32), size

    def _time(self) -> int:
        return self._random.randrange(10**18, 17 * 10**17)

    def _write(self, path: str, how: str, *pieces: tuple[int, int], offset: int = 0) -> None:
        op: Op = {"how": how, "pieces": pieces, "offset": offset}
        op["sync"] = self._random.random() < 0.2
        if self._random.random() < 0.2:
            op["mode"] = self._random.choice([0o600, 0o755, 0o644])
        if self._random.random() < 0.2:
            op["mtime_ns"] = self._time()
        self._do("write", path, **op)

    def _create(self) -> None:
        self._write(self._new_name(), self._random.choice("wx"), self._piece(), self._piece(100))

    def _overwrite(self) -> None:
        self._write(self._file(), "w", self._piece(), self._piece(100))

    def _append(self) -> None:
        self._write(self._file(), "a", self._piece(100))

    def _patch(self) -> None:
        self._write(self._file(), "r", self._piece(50), offset=self._random.randrange(2000))

    def _truncate(self) -> None:
        self._do("truncate", self._file(), size=self._random.randrange(4000))

    def _chmod(self) -> None:
        path = self._random.choice(self._of(stat.S_IFREG, stat.S_IFDIR))
        self._do("chmod", path, mode=self._random.choice([0o700, 0o711, 0o640]))

    def _utime(self) -> None:
        self._do("utime", self._file(), mtime_ns=self._time())

    def _chown(self) -> None:
        self._do("chown", self._file(), uid=self._random.randrange(1000))

    def _set_xattr(self) -> None:
        name = self._random.choice(sorted(XATTRS))
        self._do("setxattr", self._file(), name=name, value=XATTRS[name])

    def _remove_xattr(self) -> None:
        path = self._file()
        for name in self._tree[path].xattrs:
            self._do("removexattr", path, name=name)
            return

    def _rename(self) -> None:
        self._do("rename", self._file(), new=self._new_name(), is_open=False)

    def _replace(self) -> None:
        old, new = self._file(), self._file()
        if old != new:
            self._do("rename", old, new=new, is_open=self._random.random() < 0.5)

    def _rename_folder(self) -> None:
        old, new = self._random.choice(self._tops()), self._new_name("")
        empty = [folder for folder in self._tops() if folder != old and self._is_empty(folder)]
        if empty and self._random.random() < 0.5:
            new = empty[0]
        self._do("rename", old, new=new, is_open=False)

    def _unlink(self) -> None:
        self._do("unlink", self._file(), is_open=self._random.random() < 0.5)

    def _make_folder(self) -> None:
        self._mkdir(self._new_name())

    def _mkdir(self, path: str) -> None:
        self._do("mkdir", path, mode=self._random.choice([0o755, 0o700]))

    def _make_family(self) -> None:
        top = self._new_name("")
        self._mkdir(top)
        self._mkdir(f"{top}/sub")
        for child in ("a", "b", "c", "sub/a", "sub/b"):
            self._write(f"{top}/{child}", "x", self._piece())

    def _remove_folder(self) -> None:
        empty = [folder for folder in self._of(stat.S_IFDIR) if self._is_empty(folder)]
        if empty:
            self._do("rmdir", empty[0])

    def _symlink(self) -> None:
        self._do("symlink", self._new_name(), target="some/where")


# -- the calls -------------------------------------------------------------------------------


def answers(folder: Path, op: Op) -> Iterator[None]:
    """Make the calls of an operation; yields for each of its ``states`` that is the past then."""
    kind, path = op["op"], os.path.join(folder, op["path"]).rstrip("/")
    if kind == "write":
        yield from _write(path, op)
    elif kind in ("rename", "unlink"):
        with contextlib.ExitStack() as stack:
            new = os.path.join(folder, op.get("new", ""))
            if op["is_open"]:
                fd = os.open(new if kind == "rename" else path, os.O_RDONLY)
                stack.callback(_close_quietly, fd)
            os.rename(path, new) if kind == "rename" else os.unlink(path)
            # A kill within half a second may bring the name of an open file back, as it may have
            # been taken for a rename; but not once somebody has seen that it is gone.
            if kind == "unlink":
                with contextlib.suppress(FileNotFoundError):
                    raise AssertionError(f"{os.lstat(path)} of a file that was removed")
            yield
    elif kind == "mkdir":
        os.mkdir(path, op["mode"])
        yield
        yield
    else:
        _CALLS[kind](path, op)
        yield


def _write(path: str, op: Op) -> Iterator[None]:
    fd = os.open(path, _FLAGS[op["how"]], 0o644)
    try:
        os.lseek(fd, op["offset"], os.SEEK_SET)
        for number, piece in enumerate(op["pieces"]):
            data = memoryview(content(*piece))
            while data:
                data = data[os.write(fd, data) :]
            if op["sync"] and number == 0:
                os.fsync(fd)
                yield
        if "mode" in op:
            os.chmod(path, op["mode"])
            yield
        if "mtime_ns" in op:
            os.utime(path, ns=(op["mtime_ns"], op["mtime_ns"]))
            yield
    except OSError:
        _close_quietly(fd)
        raise
    os.close(fd)
    yield


def _close_quietly(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.close(fd)


_CALLS: dict[str, Callable[[str, Op], None]] = {
    "truncate": lambda path, op: os.truncate(path, op["size"]),
    "chmod": lambda path, op: os.chmod(path, op["mode"]),
    "utime": lambda path, op: os.utime(path, ns=(op["mtime_ns"], op["mtime_ns"])),
    "chown": lambda path, op: os.chown(path, op["uid"], -1),
    "setxattr": lambda path, op: os.setxattr(path, f"user.{op['name']}", op["value"]),
    "removexattr": lambda path, op: os.removexattr(path, f"user.{op['name']}"),
    "rmdir": lambda path, op: os.rmdir(path),
    "symlink": lambda path, op: os.symlink(op["target"], path),
}
