"""What POSIX says that programs see: the reference that the state machine holds the mount against.

A tree of nodes, open file descriptions, and for every file which contents the store may hold. It
knows no caches, stores or requests; a call that must fail raises ``Refused``.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import Literal

from cosfs import paths

Kind = Literal["file", "folder", "link", "fifo"]

SECOND = 10**9


class Refused(Exception):
    """The call fails with this errno and changes nothing."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode[number])
        self.number = number


@dataclass(eq=False)
class Node:
    """A file, folder, symbolic link or FIFO: what ``stat`` and ``read`` show of it."""

    kind: Kind
    mode: int
    uid: int
    gid: int
    #: Times of change that may be shown; one, once it was seen. None known: any.
    mtimes: set[int]
    data: bytes = b""
    xattrs: dict[str, bytes] = field(default_factory=dict)
    children: dict[str, Node] = field(default_factory=dict)
    #: Contents of which the store holds one; ``None``: it has no such file.
    stored: list[bytes | None] = field(default_factory=list)
    #: The store has to be given the content.
    dirty: bool = False
    #: Nobody else may have made it before it is stored.
    exclusive: bool = False
    #: Times that the next mount may show instead of those of this one.
    later: set[int] = field(default_factory=set)
    #: A program has set the time: no mount may show another.
    mtime_is_set: bool = False
    #: The last attempt to store the content failed, and it was not changed since.
    #: ``None``: only its end will show.
    failed: bool | None = False
    #: The name was taken away while it was open.
    removed: bool = False
    #: When that was, and which name; whether it is to have it again.
    removed_at: int = 0
    name: str = ""
    misplaced: bool = False
    opens: int = 0

    @property
    def is_folder(self) -> bool:
        return self.kind == "folder"

    def changed(self, data: bytes, now: int) -> None:
        """Let a program change the content."""
        self.data = data
        if self.stored[-1:] != [data]:
            self.stored.append(data)
        self.dirty, self.failed = True, False
        self.touched(now)

    def touched(self, now: int) -> None:
        """Let the time of change be now."""
        self.mtimes = {now}
        if not self.is_folder:
            # What a folder shows by itself is no more than this mount's.
            self.mtime_is_set = False
            self.later = set()


@dataclass(eq=False)
class Open:
    """An open file description; ``wrote`` tells of writes that the store may not hold."""

    node: Node
    opener: int
    readable: bool
    writable: bool
    append: bool
    #: Processes with a descriptor for it, each as often as it has one.
    holders: list[int]
    wrote: bool = False


class Model:
    """The tree and what is open. ``now`` is given to each call that changes times."""

    def __init__(self, mode: int, uid: int, gid: int) -> None:
        self.root = Node("folder", mode, uid, gid, set())
        self.opens: dict[int, Open] = {}
        #: What could not be stored: path, content, and whether somebody else's is in its place.
        self.pending: list[tuple[str, bytes, bool]] = []

    # -- finding -------------------------------------------------------------------------------

    def walk(self, folder: str) -> Node:
        """Return the folder at a path."""
        node = self.root
        for name in paths.parts(folder):
            if not node.is_folder:
                raise Refused(errno.ENOTDIR)
            if name not in node.children:
                raise Refused(errno.ENOENT)
            node = node.children[name]
        if not node.is_folder:
            raise Refused(errno.ENOTDIR)
        return node

    def get(self, path: str) -> Node:
        if path == paths.ROOT:
            return self.root
        parent = self.walk(paths.parent(path))
        if paths.base(path) not in parent.children:
            raise Refused(errno.ENOENT)
        return parent.children[paths.base(path)]

    def find(self, path: str) -> Node | None:
        try:
            return self.get(path)
        except Refused:
            return None

    def all(self, top: str = paths.ROOT) -> dict[str, Node]:
        """Return every node from ``top`` down, parents first."""
        found = self.find(top)
        if found is None:
            return {}
        nodes = {top: found}
        for name, child in sorted(found.children.items()):
            nodes.update(self.all(paths.join(top, name)) if child.is_folder else {})
            nodes.setdefault(paths.join(top, name), child)
        return nodes

    def set(self, path: str, node: Node | None) -> None:
        """Put ``node`` in the place of whatever is at ``path``."""
        parent, name = self.walk(paths.parent(path)), paths.base(path)
        parent.children.pop(name, None)
        if node is not None:
            parent.children[name] = node

    # -- names ---------------------------------------------------------------------------------

    def make(self, path: str, node: Node, now: int) -> Node:
        parent = self.walk(paths.parent(path))
        if paths.base(path) in parent.children:
            raise Refused(errno.EEXIST)
        parent.children[paths.base(path)] = node
        parent.touched(now)
        return node

    def unlink(self, path: str, now: int) -> None:
        node = self.get(path)
        if node.is_folder:
            raise Refused(errno.EISDIR)
        self._take(path, now)
        node.removed, node.removed_at, node.name = True, now, path

    def rmdir(self, path: str, now: int) -> None:
        node = self.get(path)
        if not node.is_folder:
            raise Refused(errno.ENOTDIR)
        if node.children:
            raise Refused(errno.ENOTEMPTY)
        self._take(path, now)

    def rename(self, old: str, new: str, now: int) -> None:
        self.walk(paths.parent(old))
        self.walk(paths.parent(new))
        node = self.get(old)
        if paths.is_inside(new, old):
            raise Refused(errno.EINVAL)
        if paths.is_inside(old, new):
            raise Refused(errno.ENOTEMPTY)
        target = self.find(new)
        if target is node:
            return
        if target is not None:
            if node.is_folder and not target.is_folder:
                raise Refused(errno.ENOTDIR)
            if target.is_folder and not node.is_folder:
                raise Refused(errno.EISDIR)
            if target.children:
                raise Refused(errno.ENOTEMPTY)
            target.removed, target.removed_at, target.name = True, now, new
        self._take(old, now)
        self.set(new, node)
        self.walk(paths.parent(new)).touched(now)
        self.rename_pending(old, new)

    def rename_pending(self, old: str, new: str) -> None:
        """Let what could not be stored follow a rename; what it replaces is given up."""
        self.supersede(new)
        for place, (path, data, is_conflict) in enumerate(self.pending):
            if path == old or paths.is_inside(path, old):
                self.pending[place] = paths.moved(path, old, new), data, is_conflict

    def supersede(self, path: str) -> None:
        """Give up what could not be stored of a file that has other content now."""
        self.pending = [kept for kept in self.pending if kept[0] != path or kept[2]]

    def _take(self, path: str, now: int) -> None:
        self.set(path, None)
        self.walk(paths.parent(path)).touched(now)

    # -- open files ----------------------------------------------------------------------------

    def open(self, path: str, flags: int, new: Node, opener: int, now: int) -> Open:
        """Open or make a file; ``new`` is what would be made."""
        parent = self.walk(paths.parent(path))
        node = parent.children.get(paths.base(path))
        if node is None:
            if not flags & os.O_CREAT:
                raise Refused(errno.ENOENT)
            node = self.make(path, new, now)
        elif flags & os.O_CREAT and flags & os.O_EXCL:
            raise Refused(errno.EEXIST)
        elif node.kind != "file":
            raise Refused(errno.EISDIR if node.is_folder else errno.ENXIO)
        elif flags & os.O_TRUNC:
            node.changed(b"", now)
        access = flags & os.O_ACCMODE
        node.opens += 1
        return Open(
            node,
            opener,
            access in (os.O_RDONLY, os.O_RDWR),
            access in (os.O_WRONLY, os.O_RDWR),
            bool(flags & os.O_APPEND),
            [opener],
        )

    def write(self, opened: Open, offset: int, data: bytes, now: int) -> None:
        old = opened.node.data
        if opened.append:
            offset = len(old)
        padded = old.ljust(offset, b"\0")
        opened.node.changed(padded[:offset] + data + padded[offset + len(data) :], now)
        opened.wrote = True

    def truncate(self, node: Node, length: int, now: int) -> None:
        node.changed(node.data[:length].ljust(length, b"\0"), now)
