"""Owns the store that answers at once and makes changes behind its user; must not know protocols.

Reading methods answer from what waits where that touches the path, and ask the inner store for the
rest. Changing methods put an operation into the backlog. What their caller has not looked at, by
its ``base``, is looked at first; what only the server can find out is found out by a worker.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from cosfs import paths
from cosfs.clock import Clock
from cosfs.config import WriteBackOptions
from cosfs.errors import (
    AlreadyExists,
    AttributesTooLarge,
    FolderNotEmpty,
    NotFound,
    ObjectChanged,
    SourceFailed,
)
from cosfs.model import Base, Entry
from cosfs.model import Kind as EntryKind
from cosfs.model import ListPage, Metadata, Scope, Source, Version
from cosfs.store import content, spelling
from cosfs.store.base import Store, ignore
from cosfs.store.writeback.backlog import Backlog
from cosfs.store.writeback.content import StoredFile
from cosfs.store.writeback.listing import Listings
from cosfs.store.writeback.operation import Kind, Operation
from cosfs.store.writeback.sender import Sender
from cosfs.store.writeback.view import Node
from cosfs.store.writeback.workers import Workers

T = TypeVar("T")

_NOTHING: Final = Metadata()


class WriteBackStore:
    """``inner``, with changes made later; see ``Store``.

    Thread safety: any number of threads, after ``start``; before it nothing is made.
    """

    def __init__(
        self,
        inner: Store,
        folder: Path,
        *,
        clock: Clock,
        options: WriteBackOptions,
        parallel: int = 8,
        trusted_s: float = 60.0,
        patience_s: float = 60.0,
    ) -> None:
        """Keep what waits in ``folder``, and take up what is left there.

        ``parallel`` changes are made at once. What is known of a name is believed for
        ``trusted_s``. ``close`` waits for as long as something is made every ``patience_s``.

        Raises ``ConfigError``: what is left there is not for this user, or this version.
        """
        self._inner = inner
        self._clock = clock
        self._patience_s = patience_s
        #: What waits, for those who show it.
        self.backlog = Backlog(folder, options, clock)
        self._view = self.backlog.view
        self._lock = self.backlog.lock
        self._listings = Listings(inner, self, self.backlog, clock)
        self.workers = Workers(
            self.backlog,
            Sender(inner, self.backlog.contents, self.backlog, clock, trusted_s),
            parallel,
        )

    def start(self) -> None:
        """Begin to make changes: also what a mount before this one left."""
        self.workers.start()

    # -- what needs no change ----------------------------------------------------------------

    def probe(self) -> None:
        self._inner.probe()

    def check_path(self, path: str) -> None:
        self._inner.check_path(path)

    def check_folder(self, path: str) -> None:
        self._inner.check_folder(path)

    def check_property(self, path: str, name: str, value: bytes) -> None:
        self._inner.check_property(path, name, value)

    def settle(self, path: str, scope: Scope = Scope.NAME) -> None:
        self.backlog.settle(path, scope)

    def takes_at_once(self, size: int) -> bool:
        return self.backlog.has_room_for(size)

    def close(self) -> None:
        """Wait for what waits, then end; what could not be made stays for the next mount."""
        self.backlog.drain(self._patience_s)
        self.workers.stop()
        self.backlog.close()
        self._inner.close()

    # -- reading -----------------------------------------------------------------------------

    def stat_file(self, path: str) -> Entry:
        self._inner.check_path(path)
        return self._of_file(path, lambda node: self._stat(path, node))

    def _stat(self, path: str, node: Node | None) -> Entry:
        if node is None:
            return self._inner.stat_file(path)
        entry, set_to = node.entry, node.metadata
        if entry is not None and node.content:
            return _with_facts(entry)
        found = self._at_first(path, node, self._inner.stat_file)
        if set_to is None:
            return found
        facts = found.metadata.facts if found.metadata is not None else None
        return replace(found, metadata=replace(spelling.held(path, set_to), facts=facts))

    def read_range(self, path: str, offset: int, into: memoryview, version: Version) -> None:
        content.check_range(path, offset, len(into), version)
        self._inner.check_path(path)
        self._of_file(path, lambda node: self._read(path, node, offset, into, version))

    def _read(
        self, path: str, node: Node | None, offset: int, into: memoryview, version: Version
    ) -> None:
        if node is None:
            self._inner.read_range(path, offset, into, version)
            return
        name = node.content
        if not name:
            self._at_first(
                path, node, lambda place: self._inner.read_range(place, offset, into, version)
            )
            return
        if node.entry is not None and node.entry.version != version:
            raise ObjectChanged("the file is another version now", path=path)
        try:
            file = StoredFile(self.backlog.contents.file(name), version.digest)
        except FileNotFoundError as error:
            if node.content == name and self._is_at(path, node):
                raise SourceFailed("its content is gone", path=path) from error
            raise _LookAgain from error
        try:
            data = file.read_at(offset, len(into))
        finally:
            file.close()
        if len(data) != len(into):
            raise SourceFailed("its content is cut off", path=path)
        into[:] = data

    def _of_file(self, path: str, ask: Callable[[Node | None], T]) -> T:
        """Ask about a file; once more where it was stored or moved meanwhile."""
        while True:
            with self._lock:
                node = self._view.files.get(path)
                if node is None and path in self._view.files:
                    raise NotFound("there is no such name", path=path)
                places = () if node is None else node.places
            try:
                answer = ask(node)
            except _LookAgain:
                continue
            except (NotFound, ObjectChanged):
                if node is None or not self.backlog.has_moved(path, node, places):
                    raise
                continue
            # Where it has moved meanwhile, what was asked about may be another file.
            if node is None or node.places == places:
                return answer

    def _at_first(self, path: str, node: Node, ask: Callable[[str], T]) -> T:
        """Ask about the first of a file's places where the server has anything."""
        for place in node.places:
            with suppress(NotFound):
                return ask(place)
        raise NotFound("there is no such name", path=path)

    def _is_at(self, path: str, node: Node) -> bool:
        with self._lock:
            return self._view.files.get(path) is node

    def stat_folder(self, path: str) -> Entry:
        if path == paths.ROOT:
            return self._inner.stat_folder(path)
        self._inner.check_path(path)
        with self._lock:
            is_known = path in self._view.folders
            folder = self._view.folders.get(path)
        if not is_known:
            return self._inner.stat_folder(path)
        if folder is None:
            raise NotFound("there is no such name", path=path)
        entry = folder.entry
        if entry is None:
            try:
                entry = self._inner.stat_folder(path)
            except NotFound:
                entry = Entry(EntryKind.FOLDER)
        return replace(entry, metadata=replace(folder.own, facts=MappingProxyType({})))

    def stat_mark(self, folder: str) -> Metadata:
        with self._lock:
            is_known = folder in self._view.marks
            mark = self._view.marks.get(folder)
            is_new = self._view.is_new_folder(folder)
        if is_known and mark is None or is_new and not is_known:
            raise NotFound("there is no such name", path=folder)
        if mark is None:
            return self._inner.stat_mark(folder)
        return replace(mark, facts=MappingProxyType({}))

    def list_page(self, folder: str, *, prefix: str = "", cursor: str = "") -> ListPage:
        if folder != paths.ROOT:
            self._inner.check_path(folder)
        return self._listings.page(folder, prefix, cursor)

    # -- changing files ----------------------------------------------------------------------

    def write_file(
        self,
        path: str,
        source: Source,
        *,
        metadata: Metadata,
        create_only: bool = False,
        nonce: str = "",
        staging: Callable[[str], None] = ignore,
        base: Base | None = None,
    ) -> Entry:
        self._inner.check_path(path)
        try:
            held = spelling.held(path, metadata)
        except AttributesTooLarge:
            # As much may be there already: only the server knows.
            self.backlog.await_name(path)
            return self._inner.write_file(
                path,
                source,
                metadata=metadata,
                create_only=create_only,
                nonce=nonce,
                staging=staging,
            )
        began = self._clock.monotonic()
        # No nonce goes with what waits: nobody has to ask whether its store was answered.
        if create_only:
            self._refuse_existing(path, base)
        with self.backlog.room_for(source.size):
            name = self.backlog.new_content_name()
            digest = self.backlog.contents.take(name, path, source)
            now_ns = self._now_ns()
            entry = Entry(
                EntryKind.FILE, source.size, now_ns, now_ns, digest=digest, metadata=held
            )
            operation = Operation(
                Kind.WRITE,
                path,
                entry=entry,
                metadata=_plain(metadata),
                content=name,
                exclusive=create_only,
                base=base,
            )
            try:
                with self._lock:
                    if create_only:
                        self._refuse_made(path, began)
                    self.backlog.add(operation)
            except BaseException:
                self.backlog.contents.drop(name)
                raise
        return entry

    def move_file(
        self, old: str, new: str, *, overwrite: bool, base: Base | None = None
    ) -> None:
        self._inner.check_path(old)
        self._inner.check_path(new)
        began = self._clock.monotonic()
        base = self._look(old, base)
        if not overwrite:
            self._refuse_existing(new, None)
        with self._lock:
            self._refuse_absent(old)
            if not overwrite:
                self._refuse_made(new, began)
            if old != new:
                self.backlog.add(
                    Operation(Kind.MOVE, old, new=new, exclusive=not overwrite, base=base)
                )

    def delete_file(self, path: str, *, base: Base | None = None) -> None:
        self._inner.check_path(path)
        base = self._look(path, base)
        with self._lock:
            self._refuse_absent(path)
            self.backlog.add(Operation(Kind.DELETE, path, base=base))

    def set_metadata(self, path: str, entry: Entry, metadata: Metadata) -> None:
        is_folder = entry.is_folder
        if path != paths.ROOT or not is_folder:
            self._inner.check_path(path)
        try:
            held = spelling.held(path, metadata, is_folder=is_folder)
            known = entry.metadata
            if known is not None:
                known = spelling.held(path, known, is_folder=is_folder)
        except AttributesTooLarge:
            self.backlog.await_name(path)
            self._inner.set_metadata(path, entry, metadata)
            return
        if known == held:
            return
        if known is None and not is_folder:
            self._look(path, None)
        elif known is None:
            known = self._metadata_of_folder(path, entry)
            if known == held:
                return
        is_text_of_root = path == paths.ROOT and "biz_attr" in held.properties
        if is_text_of_root and (known is None or "biz_attr" not in known.properties):
            # Refused there, in the words of there.
            self._inner.set_metadata(path, entry, metadata)
            return
        operation = Operation(
            Kind.SET, path, entry=replace(entry, metadata=known), metadata=_plain(metadata)
        )
        with self._lock:
            if not is_folder:
                self._refuse_absent(path)
            elif not entry.implied and self._view.folders.get(path, operation) is None:
                raise NotFound("there is no such name", path=path)
            self.backlog.add(operation)

    def _metadata_of_folder(self, path: str, entry: Entry) -> Metadata:
        """Return what stands beside a folder, as its user sees it."""
        own = _NOTHING if entry.implied else self.stat_folder(path).metadata or _NOTHING
        try:
            mark = self.stat_mark(path)
        except NotFound:
            mark = _NOTHING
        both = Metadata({**mark.properties, **own.properties}, None, mark.attributes)
        return spelling.held(path, both, is_folder=True)

    def _look(self, path: str, base: Base | None) -> Base | None:
        """Return what is known of ``path``, asking the server for what nobody knows."""
        if base is not None and base.entry is not None:
            return base
        with self._lock:
            if path in self._view.files:
                return base
        return Base(self._inner.stat_file(path))

    def _refuse_absent(self, path: str) -> None:
        if self._view.exists(path) is False:
            raise NotFound("there is no such name", path=path)

    def _refuse_existing(self, path: str, base: Base | None) -> None:
        with self._lock:
            exists = self._view.exists(path)
        if exists is None and base is None:
            try:
                self._inner.stat_file(path)
                exists = True
            except NotFound:
                exists = False
        if exists:
            raise AlreadyExists("there is a file of this name", path=path)

    def _refuse_made(self, path: str, began: float) -> None:
        """Refuse a name that waits, or was made since somebody began to look."""
        made = self.backlog.recent.get(path)
        if made is None or made.entry is None or made.entry.is_folder or made.at < began:
            made = None
        if self._view.exists(path) or (made is not None and path not in self._view.files):
            raise AlreadyExists("there is a file of this name", path=path)

    # -- changing folders --------------------------------------------------------------------

    def make_folder(
        self, path: str, *, biz_attr: bytes = b"", base: Base | None = None
    ) -> Entry:
        self._inner.check_folder(path)
        held = spelling.held(path, Metadata({"biz_attr": biz_attr}), is_folder=True)
        if base is None and path not in self._view.folders:
            try:
                self._inner.stat_folder(path)
            except NotFound:
                base = Base()
            else:
                raise AlreadyExists("there is a folder of this name", path=path)
        now_ns = self._now_ns()
        entry = Entry(EntryKind.FOLDER, 0, now_ns, now_ns, metadata=_with_no_facts(held))
        with self._lock:
            if self._view.folders.get(path) is not None:
                raise AlreadyExists("there is a folder of this name", path=path)
            self.backlog.add(Operation(Kind.MAKE, path, entry=entry, metadata=held, base=base))
        return entry

    def delete_folder(
        self, path: str, *, marked: bool, holding: Metadata = _NOTHING
    ) -> None:
        self._inner.check_path(path)
        with self._lock:
            if path in self._view.folders and self._view.folders[path] is None:
                raise NotFound("there is no such name", path=path)
            if self._view.is_occupied(path):
                raise FolderNotEmpty("the folder is not empty", path=path)
            self.backlog.add(
                Operation(Kind.REMOVE, path, marked=marked, metadata=_plain(holding))
            )

    def mark_folder(
        self, folder: str, holding: Metadata = _NOTHING, *, base: Base | None = None
    ) -> bool:
        _own, held = spelling.split(spelling.held(folder, holding, is_folder=True))
        with self._lock:
            is_known = folder in self._view.marks or self._view.is_new_folder(folder)
        if not is_known and base is None:
            try:
                self._inner.stat_mark(folder)
                return False
            except NotFound:
                pass
        with self._lock:
            if self._view.marks.get(folder) is not None:
                return False
            self.backlog.add(Operation(Kind.MARK, folder, metadata=held))
        return True

    def _now_ns(self) -> int:
        return int(self._clock.wall()) * 10**9


class _LookAgain(Exception):
    """What was looked at is stored by now."""


def _plain(metadata: Metadata) -> Metadata:
    return replace(metadata, facts=None)


def _with_no_facts(metadata: Metadata) -> Metadata:
    return replace(metadata, facts=MappingProxyType({}))


def _with_facts(entry: Entry) -> Entry:
    """Return the entry of a file that waits as a stat shows it."""
    facts = {
        "cos.sha": entry.digest.encode(),
        "cos.filelen": b"%d" % entry.size,
        "cos.ctime": b"%d" % (entry.ctime_ns // 10**9),
    }
    metadata = replace(entry.metadata or _NOTHING, facts=MappingProxyType(facts))
    return replace(entry, metadata=metadata)
