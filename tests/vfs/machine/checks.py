"""Compares what the mount shows and what the store holds with the model."""

from __future__ import annotations

import errno
import os
import stat
from typing import TypeVar

from cosfs import paths
from cosfs.model import Metadata
from cosfs.vfs.pending import Kept
from cosfs.vfs.types import Attrs
from tests.vfs.machine.bench import GID, UID, UMASK, Bench, Step
from tests.vfs.machine.model import Node, Refused, Unstored

T = TypeVar("T")

#: All in which a mount may differ from a local disk, and where that is allowed for.
ALLOWED = {
    "atime, ctime": "are the mount's own: not compared",
    "st_ino": "is made from the path, so it changes with a rename: not compared",
    "size of a folder": "is 0: not compared",
    "nlink of a folder": "counts the subfolders that were listed or made on this mount",
    "mtime of a folder": "moves with its names on this mount only; the next one shows what a"
    " program has set, or anything: Node.later",
    "mtime of a file": "the next mount may show the second of its last store or rename instead,"
    " but never of one that a program has set: Node.later",
    "type in a listing": "may be left out where it would cost a request: _listed",
    "a call that failed": "for want of an answer it may be done all the same; a rename of a folder"
    " may be done in part until the next mount takes it back: Outcomes._both",
    "content that cannot be stored": "is told by close and fsync, and given up with the last"
    " descriptor: the name shows what the store has, the content is pending; the kernel remembers a"
    " name that is gone with it for a second at most: _give_up, _is_remembered",
    "a name that somebody else has changed": "shows what was there before until the TTL is over"
    " (and listings have caught up), and as long as it is open and was written to. It may be"
    " shown with the other's mode and owner: Model.views",
    "a file that somebody else has changed": "gives ESTALE to who reads or stores the earlier"
    " content; what it was is pending then. Within the TTL, or where nothing of it is kept, the"
    " last writer wins: Outcomes._note_stores",
}

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
        expected = set()
        try:
            self.model.get(path)
            expected.add(0)
        except Refused as refused:
            expected.add(refused.number)
        for one in self.model.earlier.get(path, ()):
            expected.add(errno.ENOENT if one.node is None else 0)
        if any(paths.is_inside(path, other) for other in self.model.earlier):
            expected |= {errno.ENOENT, errno.ENOTDIR}
        assert number in expected, (path, errno.errorcode.get(number), expected)
        return number != 0

    def _compare(self, path: str, attrs: Attrs, nodes: list[Node]) -> None:
        problems = [_difference(attrs, node, nodes) for node in nodes]
        assert "" in problems, f"{path}: {problems}"
        node = nodes[problems.index("")]
        if node.mtimes or node.is_folder:
            node.mtimes = {attrs.mtime_ns}

    def _getxattrs(self, path: str) -> None:
        with self._step() as step:
            self._compare_xattrs(path, step)

    def _compare_xattrs(self, path: str, step: Step | None = None) -> None:
        number, xattrs = self._call(lambda: self._xattrs_of(path))
        if not self._is_answered(path, number, step):
            allowed = [node.xattrs for node in self._views(path)]
            assert xattrs in allowed, (path, xattrs, allowed)

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
            views = self.model.views(paths.join(folder, name))
            types = {None if one is None else TYPES[one.kind] for one in views}
            # A type that would cost a request is not told.
            types |= {0 for one in views if one is not None and not one.is_folder}
            assert shown.get(name) in types, (folder, name, shown.get(name), types)

    def _read_file(self, path: str) -> None:
        nodes = [node for node in self._views(path) if node.kind == "file"]
        if not nodes:
            return
        with self._step() as step:
            number, data = self._call(lambda: self._read_whole(path))
            if number == errno.ESTALE and path in self.model.earlier:
                return
            if not self._is_answered(path, number, step):
                allowed = [node.data for node in self._views(path)]
                assert data in allowed, (path, data, allowed)

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


def _is_cut_from(data: bytes | bytearray, whole: bytes) -> bool:
    return len(data) == len(whole) and all(
        x in (y, ord("?")) for x, y in zip(data, whole, strict=True)
    )


def _difference(attrs: Attrs, node: Node, beside: list[Node]) -> str:
    """Say in what ``attrs`` differ from ``node``; mode and owner may be those of any ``beside``."""
    subfolders = sum(child.is_folder for child in node.children.values())
    shown = {
        "type": stat.S_IFMT(attrs.mode),
        "mode, uid, gid": (stat.S_IMODE(attrs.mode), attrs.uid, attrs.gid),
        "nlink": attrs.nlink,
        "size": 0 if node.is_folder else attrs.size,
        "mtime": attrs.mtime_ns,
    }
    allowed = {
        "type": {TYPES[node.kind]},
        "mode, uid, gid": {(one.mode, one.uid, one.gid) for one in beside},
        "nlink": set(range(2, 3 + subfolders)) if node.is_folder else {1 - node.removed},
        "size": {0 if node.is_folder else len(node.data)},
        "mtime": node.mtimes | node.made if node.mtimes else {attrs.mtime_ns},
    }
    return ", ".join(
        f"{key} {shown[key]} instead of {allowed[key]}"
        for key in shown
        if shown[key] not in allowed[key]
    )
