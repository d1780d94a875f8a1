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

#: Path, content, and whether somebody else's is in its place.
Unstored = tuple[str, bytes, bool]


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
    #: Times at which it may have been stored, later than a mount that shows its own.
    made: set[int] = field(default_factory=set)
    #: It may wait to be stored since the mount before: its time becomes one of those.
    is_inherited: bool = False
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
    #: What mode, owner and group were then.
    attributes_then: tuple[int, int, int] = 0, 0, 0
    opens: int = 0
    #: A program has changed the content since it was opened: the mount shows what is here.
    is_local: bool = False
    #: It may be that nothing of what was there before is in the content: the last writer wins.
    is_blind: bool = True
    #: Somebody else has changed its ``name`` since it was opened.
    overtaken: bool = False

    @property
    def is_folder(self) -> bool:
        return self.kind == "folder"

    @property
    def subfolders(self) -> int:
        return sum(child.is_folder for child in self.children.values())

    def lose(self, path: str, now: int) -> None:
        """Let the name ``path`` be taken away."""
        self.removed, self.removed_at, self.name = True, now, path
        self.attributes_then = self.mode, self.uid, self.gid

    def changed(self, data: bytes, now: int) -> None:
        """Let a program change the content."""
        self.data = data
        self.is_local = True
        self.is_blind = self.is_blind or not data
        if self.stored[-1:] != [data]:
            self.stored.append(data)
        self.dirty, self.failed = True, False
        self.touched(now)

    @property
    def shown_mtimes(self) -> set[int]:
        return self.mtimes | self.made if self.is_inherited and self.mtimes else self.mtimes

    def touched(self, now: int) -> None:
        """Let the time of change be now."""
        self.mtimes = {now}
        self.is_inherited, self.made = False, set()
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


@dataclass(eq=False)
class Earlier:
    """What a name was before somebody else changed it: the mount may believe it for a while.

    ``node`` is ``None`` if there was nothing. As long as it is open and was written to, it is
    shown after ``until`` too.
    """

    node: Node | None
    until: int

    def is_over(self, now: int) -> bool:
        is_held = self.node is not None and self.node.is_local and self.node.opens > 0
        return now >= self.until and not is_held


class Model:
    """The tree and what is open. ``now`` is given to each call that changes times."""

    def __init__(self, mode: int, uid: int, gid: int) -> None:
        self.root = Node("folder", mode, uid, gid, set())
        self.opens: dict[int, Open] = {}
        #: What could not be stored, the oldest first.
        self.pending: list[Unstored] = []
        self.earlier: dict[str, list[Earlier]] = {}

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

    def is_in_folder(self, path: str) -> bool:
        """Tell whether a path lies in a folder that is there."""
        parent = self.find(paths.parent(path))
        return parent is not None and parent.is_folder

    def all(self, top: str = paths.ROOT) -> dict[str, Node]:
        """Return every node from ``top`` down, parents first."""
        found = self.find(top)
        nodes: dict[str, Node] = {}
        left = [] if found is None else [(top, found)]
        while left:
            path, node = left.pop()
            nodes[path] = node
            children = sorted(node.children.items(), reverse=True)
            left += [(paths.join(path, name), child) for name, child in children]
        return nodes

    def set(self, path: str, node: Node | None) -> None:
        """Put ``node`` in the place of whatever is at ``path``."""
        parent, name = self.walk(paths.parent(path)), paths.base(path)
        parent.children.pop(name, None)
        if node is not None:
            parent.children[name] = node

    # -- what somebody else does -----------------------------------------------------------------

    def overtake(self, path: str, new: Node | None, until: int) -> None:
        """Let somebody else put ``new`` at ``path``, or remove what is there."""
        old = self.find(path)
        self.set(path, new)
        self.note_earlier(path, old, until)
        if old is not None and old.opens:
            old.overtaken, old.name = True, path

    def note_earlier(self, path: str, node: Node | None, until: int) -> None:
        """Let a mount show ``node`` at ``path`` until then."""
        self.earlier.setdefault(path, []).append(Earlier(node, until))

    def views(self, path: str) -> list[Node | None]:
        """Return what a mount may show at ``path``: what is there first, ``None`` for nothing."""
        return [self.find(path), *(one.node for one in self.earlier.get(path, ()))]

    def expire(self, now: int) -> None:
        """Drop what no mount may believe any more."""
        for path, several in list(self.earlier.items()):
            self.earlier[path] = [one for one in several if not one.is_over(now)]
            if not self.earlier[path]:
                del self.earlier[path]

    def overtaken(self) -> dict[Node, str]:
        """Return the open files whose names somebody else has changed, with the names."""
        nodes = [opened.node for opened in self.opens.values()]
        return {node: node.name for node in nodes if node.overtaken}

    def is_contested(self, path: str) -> bool:
        """Tell whether a name at, above or below ``path`` is seen in two ways."""
        return any(
            path == other or paths.is_inside(path, other) or paths.is_inside(other, path)
            for other in {*self.earlier, *self.overtaken().values()}
        )

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
        node.lose(path, now)

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
            target.lose(new, now)
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
            node.is_local = True
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
        self._change(opened.node, padded[:offset] + data + padded[offset + len(data) :], now)
        opened.wrote = True

    def truncate(self, node: Node, length: int, now: int) -> None:
        self._change(node, node.data[:length].ljust(length, b"\0"), now)

    def _change(self, node: Node, data: bytes, now: int) -> None:
        node.changed(data, now)
        views = self.earlier.get(node.name, ())
        if node.overtaken and all(one.node is not node for one in views):
            # What is here is shown again.
            self.note_earlier(node.name, node, now)
