"""Owns what is true of names while changes of them wait; must not ask the server, or know when.

Everything here follows from the waiting changes alone. A file that waits is a ``Node``, which keeps
its identity over renames: it knows its local content until that is stored, and from then on, or if
it was never written here, the path at which the server has it at the moment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cosfs import paths
from cosfs.model import Entry
from cosfs.model import Kind as EntryKind
from cosfs.model import Metadata
from cosfs.store import spelling
from cosfs.store.names import is_reserved
from cosfs.store.writeback.operation import Kind, Operation, State
from cosfs.store.writeback.queue import Queue


class Node:
    """One file with changes that wait."""

    __slots__ = ("content", "entry", "metadata", "moving", "places")

    def __init__(
        self, *, entry: Entry | None = None, content: str = "", place: str = ""
    ) -> None:
        #: What the file is, as far as that is known without asking.
        self.entry = entry
        #: The local file that holds it; "" once the server does.
        self.content = content
        #: Where the server has it: at the first of these where it has anything. They are several
        #: where a rename may have been carried out, and nobody was told.
        self.places: tuple[str, ...] = (place,) if place else ()
        #: What stands beside it from now on, if that was set.
        self.metadata: Metadata | None = None
        #: A rename of it that the server may be carrying out.
        self.moving: Operation | None = None

    def may_be_at(self, place: str) -> None:
        """Note that a rename to ``place`` may have been carried out."""
        if place not in self.places:
            self.places += (place,)

    def is_at(self, place: str) -> None:
        """Note that it is at ``place``, or where a later rename has put it."""
        behind = self.places[self.places.index(place) :] if place in self.places else (place,)
        self.places = behind


@dataclass(slots=True)
class Folder:
    """A real folder with changes that wait; ``entry`` is ``None`` where only its text is known.

    ``is_new``: the server has not seen it.
    """

    entry: Entry | None
    own: Metadata
    is_new: bool


@dataclass(frozen=True, slots=True)
class Gone:
    """What is gone at a name: the file, the folder, or both."""

    file: bool
    folder: bool


class View:
    """What names stand for. Thread safety: none; its user has a lock."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        #: By path; ``None`` for what is gone. What is not in here, the server knows.
        self.files: dict[str, Node | None] = {}
        self.folders: dict[str, Folder | None] = {}
        #: What the marks of folders hold.
        self.marks: dict[str, Metadata | None] = {}
        self._node_of: dict[Operation, Node] = {}

    def node_of(self, operation: Operation) -> Node | None:
        """Return the file that an operation writes, moves or sets."""
        return self._node_of.get(operation)

    def apply(self, operation: Operation) -> None:
        """Let an operation that was put at the end of the queue be true."""
        path = operation.path
        if operation.kind is Kind.WRITE:
            node = self.files[path] = Node(entry=operation.entry, content=operation.content)
            self._node_of[operation] = node
        elif operation.kind is Kind.MOVE:
            known = operation.base.entry if operation.base is not None else None
            node = self.files.get(path) or Node(entry=known, place=path)
            self.files[path] = None
            self.files[operation.new] = self._node_of[operation] = node
            if operation.state is State.STARTED:
                node.moving = operation
            if operation.is_tried:
                node.may_be_at(operation.new)
        elif operation.kind is Kind.DELETE:
            self.files[path] = None
        elif operation.kind is Kind.MAKE:
            self.folders[path] = Folder(operation.entry, operation.metadata, is_new=True)
        elif operation.kind is Kind.REMOVE:
            self.folders[path] = self.marks[path] = None
        elif operation.kind is Kind.MARK:
            self.marks[path] = operation.metadata
        elif operation.entry is not None and operation.entry.is_folder:
            self.set_folder(operation)
        else:
            self.set_file(operation)

    def set_file(self, operation: Operation) -> None:
        """Let a file have the metadata of an operation, which writes or sets it."""
        path = operation.path
        node = self.files.get(path)
        if node is None:
            node = self.files[path] = Node(place=path)
        self._node_of[operation] = node
        node.metadata = operation.metadata
        if node.entry is not None:
            held = spelling.held(path, operation.metadata)
            node.entry = replace(node.entry, metadata=held)

    def begin(self, operation: Operation) -> None:
        """Note that the server is asked to make an operation."""
        if operation.kind is Kind.MOVE:
            self._node_of[operation].moving = operation

    def not_sure(self, operation: Operation) -> None:
        """Note that the server may have made an operation, which is tried again."""
        if operation.kind is Kind.MOVE:
            node = self._node_of[operation]
            node.moving = None
            node.may_be_at(operation.new)

    def done(self, operation: Operation, *, is_made: bool) -> None:
        """Note that the server has made an operation, which is out of the queue, or refused it."""
        path = operation.path
        node = self._node_of.pop(operation, None)
        if node is not None and operation.kind is Kind.WRITE:
            node.content = ""
            node.is_at(path)
        elif node is not None and operation.kind is Kind.MOVE:
            node.moving = None
            if is_made:
                node.is_at(operation.new)
        folder = self.folders.get(path)
        if operation.kind is Kind.MAKE and folder is not None:
            folder.is_new = False
        self.forget_idle(operation)

    def undo(self, operation: Operation) -> None:
        """Note that an operation, which is out of the queue, will never be made."""
        self._node_of.pop(operation, None)
        for path in operation.paths:
            touching = self._queue.at(path)
            if touching and path in self.files:
                self.files[path] = self._after(touching[-1], path)
        self.forget_idle(operation)

    def forget_idle(self, operation: Operation) -> None:
        """Leave to the server what nothing in the queue touches any more."""
        for path in operation.paths:
            if not self._queue.at(path):
                self.files.pop(path, None)
                self.folders.pop(path, None)
                self.marks.pop(path, None)

    def rebuild(self) -> None:
        """Find out anew what is true, from the queue alone."""
        for states in (self.files, self.folders, self.marks, self._node_of):
            states.clear()
        for operation in self._queue:
            self.apply(operation)

    def exists(self, path: str) -> bool | None:
        """Tell whether there is a file at ``path``; ``None``: the server knows."""
        return self.files[path] is not None if path in self.files else None

    def is_in_use(self, folder: str) -> bool:
        """Tell whether something that waits lies below ``folder``, or is its mark."""
        return self.marks.get(folder) is not None or self.is_occupied(folder)

    def is_occupied(self, folder: str) -> bool:
        """Tell whether something that waits lies below ``folder``."""
        return any(
            self.files.get(path) is not None
            or self.folders.get(path) is not None
            or self.marks.get(path) is not None
            for path in self._queue.touched_below(folder)
        )

    def has_gone_below(self, folder: str) -> bool:
        """Tell whether a name below ``folder`` is gone that the server may still have."""
        return any(
            (path in self.files and self.files[path] is None)
            or (path in self.folders and self.folders[path] is None)
            for path in self._queue.touched_below(folder)
        )

    def is_new_folder(self, path: str) -> bool:
        """Tell whether the server surely has nothing in the folder at ``path``."""
        folder = self.folders.get(path)
        if folder is None or not folder.is_new:
            return False
        first = self._queue.at(path)[0]
        return first.kind is Kind.MAKE and first.is_new and not first.is_tried

    def local_names(self, folder: str, prefix: str) -> dict[str, Entry | Node | Gone]:
        """Return what waits in ``folder``: by name an entry, a file to be asked for, or absence."""
        found: dict[str, Entry | Node | Gone] = {}
        for path in self._queue.names_in(folder):
            name = paths.base(path)
            is_shown = not is_reserved(name, at_root=folder == paths.ROOT)
            if is_shown and name.startswith(prefix):
                known = self._local(path)
                if known is not None:
                    found[name] = known
                elif path in self.files or path in self.folders:
                    found[name] = Gone(file=path in self.files, folder=path in self.folders)
        return found

    def _local(self, path: str) -> Entry | Node | None:
        folder = self.folders.get(path)
        if folder is not None:
            entry = folder.entry or Entry(EntryKind.FOLDER)
            return replace(entry, metadata=None)
        if self.is_in_use(path):
            return Entry(EntryKind.FOLDER, implied=True)
        node = self.files.get(path)
        if node is None:
            return None
        return node if node.entry is None else replace(node.entry, metadata=None)

    def set_folder(self, operation: Operation) -> None:
        """Let a folder have the metadata of an operation, where they differ from what it knew."""
        path = operation.path
        assert operation.entry is not None
        own, rest = spelling.split(spelling.held(path, operation.metadata, is_folder=True))
        known = operation.entry.metadata
        own_known, rest_known = (None, None) if known is None else spelling.split(known)
        folder = self.folders.get(path)
        if path != paths.ROOT and (own != own_known or operation.entry.implied):
            if folder is not None:
                folder.own = own
            else:
                entry = None if operation.entry.implied else operation.entry
                self.folders[path] = Folder(entry, own, is_new=False)
        if rest != rest_known:
            self.marks[path] = rest

    def _after(self, operation: Operation, path: str) -> Node | None:
        """Return what is at ``path`` after an operation that touches it."""
        is_moved_away = operation.kind is Kind.MOVE and path == operation.path
        if operation.kind is Kind.DELETE or is_moved_away:
            return None
        return self._node_of.get(operation)
