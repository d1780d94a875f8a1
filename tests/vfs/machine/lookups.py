"""What the kernel remembers of names, and how it finds out what it does not know."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from cosfs import paths
from cosfs.errors import CosfsError
from cosfs.fuse.errnos import answer_of
from cosfs.vfs.filesystem import FileSystem
from cosfs.vfs.types import Attrs
from tests.fakeclock import FakeClock

T = TypeVar("T")


@dataclass
class Known:
    """What the kernel remembers of a name: its mode, ``None`` if it is not there."""

    mode: int | None
    until: float


@dataclass
class Lookups:
    """See the module's text."""

    fs: FileSystem
    clock: FakeClock
    _names: dict[str, Known] = field(default_factory=dict)

    def _getattr(self, path: str, fh: int | None = None) -> Attrs:
        try:
            attrs = run(lambda: self.fs.getattr(path, fh))
        except OSError as failure:
            self._names.pop(path, None)
            if failure.errno == errno.ENOENT:
                self._remember(path, None)
            raise
        self._remember(path, attrs.mode)
        return attrs

    def _remember(self, path: str, mode: int | None) -> None:
        ttl = self.fs.kernel_ttl_s
        if ttl:
            self._names[path] = Known(mode, self.clock.monotonic() + ttl)

    def _find(self, path: str) -> int | None:
        """Return the mode of a name whose folder is there."""
        known = self._names.get(path)
        if known is not None and self.clock.monotonic() < known.until:
            return known.mode
        try:
            return self._getattr(path).mode
        except OSError as failure:
            if failure.errno == errno.ENOENT:
                return None
            raise

    def _walk(self, folder: str) -> None:
        """Look up every part of the path of a folder."""
        at = paths.ROOT
        for name in paths.parts(folder):
            at = paths.join(at, name)
            mode = self._find(at)
            if mode is None:
                raise error(errno.ENOENT, at)
            if not stat.S_ISDIR(mode):
                raise error(errno.ENOTDIR, at)

    def _known(self, path: str) -> int:
        """Look up a whole path; return its mode."""
        if path == paths.ROOT:
            return stat.S_IFDIR
        self._walk(paths.parent(path))
        mode = self._find(path)
        if mode is None:
            raise error(errno.ENOENT, path)
        return mode

    def _new(self, path: str) -> None:
        """Look up a path that is to be made."""
        self._walk(paths.parent(path))
        if self._find(path) is not None:
            raise error(errno.EEXIST, path)
        self._names.pop(path, None)

    def _retried(self, path: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except OSError as failure:
            if failure.errno != errno.ESTALE:
                raise
        at = paths.ROOT
        for name in paths.parts(path):
            at = paths.join(at, name)
            self._names.pop(at, None)
        return call()

    def _forget(self, path: str) -> None:
        for other in [p for p in self._names if p == path or paths.is_inside(p, path)]:
            del self._names[other]


def run(call: Callable[[], T]) -> T:
    """Make one call of the file system; its error becomes what the adapter answers."""
    try:
        return call()
    except CosfsError as failure:
        raise error(answer_of(failure).errno, str(failure)) from failure


def error(number: int, what: str) -> OSError:
    return OSError(number, os.strerror(number), what)
