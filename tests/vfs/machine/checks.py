"""Compares what the mount shows and what the store holds with the model."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from typing import TypeVar

from cosfs import paths
from cosfs.model import Metadata
from cosfs.vfs.pending import Kept
from cosfs.vfs.types import Attrs
from tests.vfs.machine.allowed import Allowed, allow
from tests.vfs.machine.bench import GID, UID, UMASK, Bench, Step
from tests.vfs.machine.model import Node, Refused, Unstored

T = TypeVar("T")

#: What of ``stat`` is not compared.
UNCOMPARED = {"atime_ns": Allowed.TIMES, "ctime_ns": Allowed.TIMES, "ino": Allowed.INODE}

TYPES = {
    "file": stat.S_IFREG,
    "folder": stat.S_IFDIR,
    "link": stat.S_IFLNK,
    "fifo": stat.S_IFIFO,
}


class Checks(Bench):
    """See the module's text. Everything raises ``AssertionError``."""

    # -- a name --------------------------------------------------------------------------------

    def audit(self) -> None:
        """Look at everything."""
        for path in {**self.model.all(), **self.model.earlier}:
            self._stat(path)
            self._getxattrs(path)
            self._read_file(path)
            node = self.model.find(path)
            if node is not None and node.is_folder:
                self._listdir(path)

    def _stat(self, path: str) -> None:
        with self._step() as step:
            self._compare_stat(path, step)

    def _compare_stat(self, path: str, step: Step | None = None) -> None:
        number, attrs = self._call(lambda: self.kernel.stat(path))
        if not self._is_answered(path, number, step):
            assert attrs is not None
            self._compare(path, attrs, self._views(path))

    def _views(self, path: str) -> list[Node]:
        self.model.expire(self._now())
        return [node for node in self.model.views(path) if node is not None]

    def _is_answered(self, path: str, number: int, step: Step | None) -> bool:
        """Tell whether ``number`` is all there is to a look at ``path``; it must be right then."""
        if step is not None and step.is_excused(number):
            return True
        self.model.expire(self._now())
        try:
            self.model.get(path)
            right = 0
        except Refused as refused:
            right = refused.number
        expected = set()
        for one in self.model.earlier.get(path, ()):
            expected.add(errno.ENOENT if one.node is None else 0)
        if any(paths.is_inside(path, other) for other in self.model.earlier):
            expected |= {errno.ENOENT, errno.ENOTDIR}
        is_right = number == right or allow(Allowed.FOREIGN_NAME, number in expected)
        assert is_right, (path, errno.errorcode.get(number), right, expected)
        return number != 0

    def _compare(self, path: str, attrs: Attrs, nodes: list[Node]) -> None:
        problems = [_difference(attrs, node, nodes) for node in nodes]
        assert "" in problems, f"{path}: {problems}"
        node = nodes[problems.index("")]
        allow(Allowed.FOREIGN_NAME, node is not nodes[0])
        _note_allowed(attrs, node)
        if node.mtimes or node.is_folder:
            node.mtimes = {attrs.mtime_ns}

    def _getxattrs(self, path: str) -> None:
        with self._step() as step:
            self._compare_xattrs(path, step)

    def _compare_xattrs(self, path: str, step: Step | None = None) -> None:
        number, xattrs = self._call(lambda: self._xattrs_of(path))
        if not self._is_answered(path, number, step):
            _assert_is_view(path, xattrs, [node.xattrs for node in self._views(path)])

    def _xattrs_of(self, path: str) -> dict[str, bytes]:
        names = self.kernel.listxattr(path)
        return {
            name: self.kernel.getxattr(path, name)
            for name in names
            if not name.startswith("user.cos.")
        }

    def _listdir(self, path: str) -> None:
        with self._step() as step:
            number, shown = self._call(lambda: self.kernel.listdir(path))
            node = self.model.find(path)
            is_file = any(not one.is_folder for one in self._views(path))
            if is_file and number == errno.ENOTDIR:
                return
            if self._is_answered(path, number, step):
                return
            assert shown is not None and node is not None and node.is_folder, path
            self._compare_listing(path, shown, node)

    def _compare_listing(self, folder: str, shown: dict[str, int], node: Node) -> None:
        changed = {paths.base(p) for p in self.model.earlier if paths.parent(p) == folder}
        for name in {*shown, *node.children, *changed}:
            views, seen = self.model.views(paths.join(folder, name)), shown.get(name)
            if seen == 0 and any(one is not None and not one.is_folder for one in views):
                allow(Allowed.LISTED_TYPE)
                continue
            types = [None if one is None else TYPES[one.kind] for one in views]
            _assert_is_view(paths.join(folder, name), seen, types)

    def _read_file(self, path: str) -> None:
        nodes = [node for node in self._views(path) if node.kind == "file"]
        if not nodes:
            return
        with self._step() as step:
            number, data = self._call(lambda: self._read_whole(path))
            is_foreign = number == errno.ESTALE and path in self.model.earlier
            if allow(Allowed.FOREIGN_CONTENT, is_foreign):
                return
            if not self._is_answered(path, number, step):
                _assert_is_view(path, data, [node.data for node in self._views(path)])

    def _read_whole(self, path: str) -> bytes:
        fd = self.kernel.open(path, os.O_RDONLY, 0, self._caller(0))
        try:
            size = self.kernel.fstat(fd, by_handle=True).size
            return self.kernel.read(fd, 0, size + 1)
        finally:
            self.kernel.flush(fd, self._caller(0))
            self.kernel.release(fd)

    def _look(self, path: str) -> None:
        for number, at in self._fds.items():
            if at.node.path == path and at.node.hidden:
                attrs = self.kernel.fstat(at, by_handle=False)
                self._compare(path, attrs, [self.model.opens[number].node])
                return
        self._compare_stat(path)
        if self.model.find(path) is not None:
            self._compare_xattrs(path)

    # -- the store -----------------------------------------------------------------------------

    def _check_store(self) -> None:
        """The store holds what it must, and nothing that no program wrote."""
        raw = self._holder.files()
        for path, node in self.model.all().items():
            held = raw.pop(path, None)
            if node.is_folder:
                assert held is None, f"{path}: a file and a folder"
                continue
            assert held in node.stored, f"{path}: {held!r} is stored instead of {node.stored}"
            last = len(node.stored) - 1 - node.stored[::-1].index(held)
            del node.stored[:last]
        orphans = {path for path in raw if path.startswith("/.cosfs-work/")}
        assert len(orphans) <= len(self._removed()) + self._orphans_left, orphans
        left = sorted(raw.keys() - orphans)
        assert not left, f"{left}: stored, though no program has such files"
        folders = {path for path, node in self.model.all().items() if node.is_folder}
        stored = {paths.ROOT, *self._holder.folders()}
        assert folders == stored, f"folders: {sorted(stored)} instead of {sorted(folders)}"

    def _check_attributes(self, path: str, node: Node) -> None:
        """The store holds what programs have set beside the content."""
        *held, mtime = self._stored_attributes(path, node)
        assert held == [node.mode, node.uid, node.gid, node.xattrs], (path, held)
        if node.mtime_is_set:
            wanted = node.later if node.is_folder else node.mtimes
            assert mtime in wanted, f"{path}: {mtime} instead of {wanted}"

    def _stored_attributes(
        self, path: str, node: Node
    ) -> tuple[int, int, int, dict[str, bytes], int | None]:
        """Return mode, owner, group, attributes and time of change as the store holds them."""
        holder = self._holder
        with holder.unseen():
            if node.is_folder:
                held = holder.marks().get(path, Metadata())
                own = holder.stat_folder(path).metadata or Metadata()
                properties = {**held.properties, **own.properties}
            else:
                held = holder.stat_file(path).metadata or Metadata()
                properties = dict(held.properties)
        given, default = held.attributes, (0o777 if node.is_folder else 0o666) & ~UMASK
        return (
            default if given.mode is None else stat.S_IMODE(given.mode),
            UID if given.uid is None else given.uid,
            GID if given.gid is None else given.gid,
            {f"user.{name}": value for name, value in properties.items()},
            given.mtime_ns,
        )

    # -- what could not be stored --------------------------------------------------------------

    def _check_pending(self) -> None:
        """What could not be stored is kept, whole but for what the store still has."""
        left = list(self.model.pending)
        for kept in self.fs._files.pending.all():
            left.remove(self._kept_as(kept, left))
        assert not left, f"not kept: {left}"

    @staticmethod
    def _kept_as(kept: Kept, known: list[Unstored]) -> Unstored:
        """Return which of ``known`` it is that the mount keeps."""
        data = bytearray(kept.data.read_bytes())
        for start, end in kept.missing:
            data[start:end] = b"?" * (end - start)
        fits = [one for one in known if one[0] == kept.path and _is_cut_from(data, one[1])]
        assert fits, f"kept: {kept.path} {bytes(data)!r}; expected: {known}"
        return fits[0]


def _assert_is_view(path: str, seen: object, views: Sequence[object]) -> None:
    """Check that what is seen is what is there (the first), or what it may be taken for."""
    is_right = seen == views[0] or allow(Allowed.FOREIGN_NAME, seen in views[1:])
    assert is_right, (path, seen, views)


def _is_cut_from(data: bytes | bytearray, whole: bytes) -> bool:
    return len(data) == len(whole) and all(
        x in (y, ord("?")) for x, y in zip(data, whole, strict=True)
    )


def _difference(attrs: Attrs, node: Node, beside: list[Node]) -> str:
    """Say in what ``attrs`` differ from ``node``; mode and owner may be those of any ``beside``."""
    subfolders = node.subfolders
    shown = {
        "type": stat.S_IFMT(attrs.mode),
        "mode, uid, gid": (stat.S_IMODE(attrs.mode), attrs.uid, attrs.gid),
        "nlink": attrs.nlink,
        "size": attrs.size,
        "blocks": attrs.blocks,
        "rdev": attrs.rdev,
        "mtime": attrs.mtime_ns,
    }
    size = 0 if node.is_folder else len(node.data)
    allowed = {
        "type": {TYPES[node.kind]},
        "mode, uid, gid": {(one.mode, one.uid, one.gid) for one in beside},
        "nlink": set(range(2, 3 + subfolders)) if node.is_folder else {1 - node.removed},
        "size": {size},
        "blocks": {(size + 511) // 512},
        "rdev": {0},
        "mtime": node.shown_mtimes or {attrs.mtime_ns},
    }
    return ", ".join(
        f"{key} {shown[key]} instead of {allowed[key]}"
        for key in shown
        if shown[key] not in allowed[key]
    )


def _note_allowed(attrs: Attrs, node: Node) -> None:
    """Say in what ``attrs`` differ from those of a local disk's ``node``, though they are right."""
    for difference in UNCOMPARED.values():
        allow(difference)
    if node.is_folder:
        allow(Allowed.FOLDER_SIZE)
        allow(Allowed.FOLDER_LINKS, attrs.nlink != 2 + node.subfolders)
    if len(node.mtimes) != 1:
        allow(Allowed.FOLDER_MTIME if node.is_folder else Allowed.FILE_MTIME)
