"""Owns which files are open, by name and by handle, and when a descriptor's end stores its file.

Must not know listings or metadata.

A flush (one per ``close`` of any duplicate) stores when its own descriptor has unstored writes and
the closing process is the one that opened it, or that one is gone: shells and their children close
inherited duplicates before, between and after the writes. The last release stores what is left.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import asdict
from typing import Final

from cosfs import interrupts, paths
from cosfs.errors import FsError, NotFound, Stale, StoreError, StoreFailed
from cosfs.model import Attributes, Entry
from cosfs.vfs import processes
from cosfs.vfs.background import Background
from cosfs.vfs.catalog import WORK_FOLDER
from cosfs.vfs.descriptors import Descriptor
from cosfs.vfs.halves import Halves
from cosfs.vfs.handles import HandleTable
from cosfs.vfs.openfile import OpenFile, Services
from cosfs.vfs.pending import Pending
from cosfs.vfs.types import Caller, FilesUsage, NotStored

log = logging.getLogger(__name__)

#: What libfuse 2 renames an open file to when it is unlinked or replaced.
_HIDDEN_PREFIX: Final = ".fuse_hidden"
_HIDDEN = re.compile(re.escape(_HIDDEN_PREFIX) + r"[0-9a-f]{16}")


def hidden_name(path: str) -> str:
    """Return a name for an open file that loses ``path``, as libfuse makes them up."""
    return paths.join(paths.parent(path), f"{_HIDDEN_PREFIX}{secrets.token_hex(8)}")


class OpenFiles:
    """See the module's text.

    Thread safety: ``_lock`` guards the table of names and each file's set of descriptors. It is
    taken before a file's own lock, never after it, and never held across a request.
    """

    def __init__(
        self, services: Services, executor: Executor, background: Background
    ) -> None:
        self._services = services
        self._executor = executor
        self._background = background
        self._lock = threading.Lock()
        self._by_path: dict[str, OpenFile] = {}
        self._descriptors: HandleTable[Descriptor] = HandleTable()
        #: Files that are open under a name which has another version by now.
        self._outdated: dict[str, set[OpenFile]] = {}
        self._hidden: set[str] = set()
        self._halves = Halves(services.clock)
        self.pending = Pending(services.spool_folder)

    # -- finding -----------------------------------------------------------------------------

    def at(self, path: str) -> OpenFile | None:
        """Return the file that is open under ``path``."""
        return self._by_path.get(path)

    def local_at(self, path: str) -> OpenFile | None:
        """Return the file open under ``path`` if its attributes must come from it."""
        file = self._by_path.get(path)
        return file if file is not None and file.has_local_state else None

    def is_dirty_at(self, path: str) -> bool:
        """Tell whether a file is open under ``path`` that will be stored."""
        file = self._by_path.get(path)
        return file is not None and file.is_dirty

    def descriptor(self, fh: int) -> Descriptor:
        """Return the descriptor of ``fh``. Raises ``BadHandle``."""
        return self._descriptors.get(fh)

    def unstored_in(self, folder: str) -> list[str]:
        """Return the base names of new files in ``folder`` that the store has never seen."""
        if not self._by_path:
            return []
        with self._lock:
            return [
                paths.base(path)
                for path, file in self._by_path.items()
                if file.entry is None and not file.removed and paths.parent(path) == folder
            ]

    def is_hidden_name(self, path: str) -> bool:
        """Tell whether ``path`` is a name that libfuse may be making up for an open file."""
        # First what is cheap: every stat asks this.
        if _HIDDEN_PREFIX not in path:
            return False
        folder, name = paths.split(path)
        if not _HIDDEN.fullmatch(name):
            return False
        with self._lock:
            return any(paths.parent(other) == folder for other in self._by_path)

    def unlink_hidden(self, path: str) -> bool:
        """Take note that libfuse removes a name it made up: the file ends with its descriptors."""
        with self._lock:
            if path not in self._hidden:
                return False
            self._hidden.discard(path)
            file = self._by_path.get(path)
            if file is None or file.descriptors:
                return True
            self._forget(file)
        self._end(file)
        return True

    def mappable(self) -> list[str]:
        """Return the paths of files that programs may have changed through a mapping."""
        with self._lock:
            return [
                path
                for path, file in self._by_path.items()
                if not file.removed and any(one.is_mappable for one in file.descriptors)
            ]

    def usage(self) -> FilesUsage:
        """Return what is open, and what of it is not stored."""
        files = self._all()
        dirty = [file for file in files if file.is_dirty]
        return FilesUsage(
            descriptors=len(self._descriptors),
            files=len(files),
            dirty_files=len(dirty),
            dirty_bytes=sum(file.size for file in dirty),
        )

    def _all(self) -> list[OpenFile]:
        """Return all that is open, those last that have the name of another version by now."""
        with self._lock:
            outdated = [file for files in self._outdated.values() for file in files]
            return [*self._by_path.values(), *outdated]

    # -- opening -----------------------------------------------------------------------------

    def join(self, path: str, caller: Caller) -> tuple[int, Descriptor] | None:
        """Open the file at ``path`` if it has local bytes; ``None`` if it has none."""
        opener = processes.thread_group(caller.pid)
        with self._lock:
            file = self._by_path.get(path)
            if file is None or not file.has_local_state:
                return None
            return self._describe(file, opener)

    def open(self, path: str, entry: Entry, caller: Caller) -> tuple[int, Descriptor]:
        """Open the file at ``path``, ``entry`` as the store has it, or its local bytes."""
        opener = processes.thread_group(caller.pid)
        with self._lock:
            file = self._by_path.get(path)
            if file is not None and self._is_outdated(file, entry):
                # Its descriptors keep their own object, which goes on with the old version.
                self._outdated.setdefault(path, set()).add(file)
                file = None
            if file is None:
                file = self._by_path[path] = OpenFile(self._services, path, entry)
            return self._describe(file, opener)

    def create(self, path: str, caller: Caller) -> tuple[int, Descriptor]:
        """Make a new file at ``path`` and open it.

        One that is open there without local bytes was removed by somebody else: its descriptors
        keep it.
        """
        opener = processes.thread_group(caller.pid)
        with self._lock:
            file = self._by_path.get(path)
            if file is None or not file.has_local_state:
                if file is not None:
                    self._outdated.setdefault(path, set()).add(file)
                file = self._by_path[path] = OpenFile(self._services, path, None)
            return self._describe(file, opener)

    def _describe(self, file: OpenFile, opener: int) -> tuple[int, Descriptor]:
        descriptor = Descriptor(file, opener, self._services.clock.monotonic())
        file.descriptors.add(descriptor)
        return self._descriptors.add(descriptor), descriptor

    def note_told(self, path: str, size: int) -> None:
        """Note what size the kernel believes ``path`` to have: other versions may be open."""
        if not self._by_path and not self._outdated:
            return
        with self._lock:
            files = set(self._outdated.get(path, ()))
            if path in self._by_path:
                files.add(self._by_path[path])
        for file in files:
            file.note_told(size)

    def has_outdated(self, path: str) -> bool:
        """Tell whether somebody still reads another version of ``path`` than a new open does."""
        return bool(self._outdated.get(path))

    @staticmethod
    def _is_outdated(file: OpenFile, entry: Entry) -> bool:
        return (
            not file.has_local_state
            and file.entry is not None
            and file.entry.version != entry.version
        )

    # -- storing -----------------------------------------------------------------------------

    def flush(self, fh: int, caller: Caller) -> None:
        """Store if this close is the one that must. Raises ``StoreFailed``, also again.

        Raises ``Stale`` if reading may have ended early, with the size of another version.
        """
        descriptor = self._descriptors.get(fh)
        if descriptor.is_cut:
            raise Stale(descriptor.file.path, "replaced by a shorter file while it was read")
        if not descriptor.wrote:
            return
        if descriptor.file.failure is not None:
            raise descriptor.file.failure
        if descriptor.is_ended_by(caller.pid):
            self._store(descriptor.file)

    def fsync(self, fh: int) -> None:
        """Store whatever is not stored. Raises ``StoreFailed``."""
        self._store(self._descriptors.get(fh).file)

    def release(self, fh: int) -> None:
        """End a descriptor. What is left is stored; what cannot be is kept as pending."""
        self.settle_hidden()
        descriptor = self._descriptors.remove(fh)
        file = descriptor.file
        # With its last descriptor it would be deleted, though it may yet have its name again.
        self._halves.await_end(file)
        self._services.blocks.close(descriptor.stream)
        with self._lock:
            last = file.descriptors == {descriptor}
        if file.is_dirty and file.failure is None and (descriptor.wrote or last):
            try:
                self._store(file)
            except StoreFailed as error:
                log.debug("nobody is told by release: %s", error)
        with self._lock:
            file.descriptors.discard(descriptor)
            last = not file.descriptors
            if last:
                self._forget(file)
        if last:
            self._end(file)

    def abandon(self, fh: int) -> None:
        """End a descriptor whose change failed, as its program was told: the change goes with it.

        Other descriptors of the file keep what they see.
        """
        descriptor = self._descriptors.remove(fh)
        file = descriptor.file
        self._services.blocks.close(descriptor.stream)
        with self._lock:
            file.descriptors.discard(descriptor)
            if file.descriptors:
                return
            self._forget(file)
        file.close()

    def _forget(self, file: OpenFile) -> None:
        """Take a file without descriptors out of the tables. Called under the lock."""
        if self._by_path.get(file.path) is file:
            del self._by_path[file.path]
        for path, outdated in list(self._outdated.items()):
            outdated.discard(file)
            if not outdated:
                del self._outdated[path]

    def store_now(self, file: OpenFile) -> None:
        """Store ``file`` outside of any descriptor's end. Raises ``StoreFailed``."""
        self._store(file)

    def store_all(self) -> list[NotStored]:
        """Store every dirty file, in parallel, and end all; return what is not stored but kept.

        To be called when no other call comes any more.
        """
        files = self._all()
        failures = list(self._executor.map(self._last_chance, files))
        log.debug("%d files were open, %d could not be stored", len(files), sum(failures))
        return self.pending.not_stored()

    def _last_chance(self, file: OpenFile) -> bool:
        try:
            self._store(file)
        except StoreFailed as error:
            log.debug("the last chance of %r has passed: %s", file.path, error)
        is_lost = file.is_dirty
        self._end(file)
        return is_lost

    def _store(self, file: OpenFile) -> None:
        is_new, keeper = file.entry is None, self._services.keeper
        is_plain = is_new and keeper.travels_unasked(file.path, file.new_metadata)
        if is_plain and self._services.store.takes_at_once(file.size):
            with self._services.locks.holding(file.path), interrupts.watched(None):
                self._store_here(file)
        else:
            self._background.finish(lambda: self._store_here(file))

    def _store_here(self, file: OpenFile) -> None:
        if file.store():
            self.pending.superseded(file.path)

    def _end(self, file: OpenFile) -> None:
        if file.removed:
            self._delete_orphan(file)
        if file.is_dirty:
            self._keep(file)
        else:
            file.close()

    def _keep(self, file: OpenFile) -> None:
        kept = file.give_up()
        if kept is not None:
            self.pending.keep(kept)
        self._services.catalog.cache.forget(file.path)

    # -- names -------------------------------------------------------------------------------

    def renamed(self, old: str, new: str) -> None:
        """Let open files, and unstored ones, follow a rename of ``old``, or of a folder above."""
        self.pending.renamed(old, new)
        with self._lock:
            affected = [
                (path, file)
                for path, file in self._by_path.items()
                if path == old or paths.is_inside(path, old)
            ]
            for path, file in affected:
                del self._by_path[path]
                file.path = paths.moved(path, old, new)
                if not file.removed:
                    file.store_path = file.path
                self._by_path[file.path] = file

    def hide(self, old: str, hidden: str, unsent: Attributes) -> bool:
        """Take the name of an open file away, as libfuse does with ``rename`` to ``hidden``.

        The content stays readable and writable through its descriptors: what is stored of it is
        moved to the work folder until the last of them ends. It takes ``unsent`` changes with it.

        Returns whether that was the case: a file is at ``old`` and ``hidden`` is such a name.
        Cost: 1 request if the file is stored, and 1 when the last descriptor ends.
        """
        if not _HIDDEN.fullmatch(paths.base(hidden)):
            return False
        file = self._by_path.get(old)
        if file is None:
            # To libfuse a descriptor is open until its release has returned.
            entry = self._services.catalog.get(old)
            if entry.is_folder:
                return False
            file = OpenFile(self._services, old, entry)
        file.settle()
        if file.may_be_stored:
            orphan = f"{WORK_FOLDER}/orphans/{secrets.token_hex(16)}"
            # Whether it was removed, or is about to be replaced, shows only with the next call.
            record = {"path": old, "is_sure": False, "attributes": asdict(unsent)}
            self._services.journal.put("orphans", orphan, record)
            try:
                self._services.catalog.move_file(old, orphan, overwrite=True)
            except NotFound:
                log.debug("%r is not in the store when it is to be removed", old)
                self._services.journal.drop("orphans", orphan)
            file.store_path = orphan
        with self._lock:
            file.removed = True
            file.attributes = unsent
            if self._by_path.get(old) is file:
                del self._by_path[old]
            file.path = hidden
            self._by_path[hidden] = file
            self._hidden.add(hidden)
        before = self._halves.begin(old, file)
        if before is not None:
            self.note_removed(before)
        return True

    def just_hidden(self, path: str) -> OpenFile | None:
        """Return the file that this caller's call right before this one hid at ``path``.

        libfuse renames a file over an open one in two calls; ``end_replacing`` ends the second.
        """
        file, is_replaced = self._halves.go_on(path)
        if file is None or is_replaced:
            return file
        self.note_removed(file)
        return None

    def end_replacing(self, path: str) -> None:
        """Note that ``path`` has another file, or its old one again."""
        self._halves.end(path)

    def await_replacing(self, folder: str) -> None:
        """Return when no name in ``folder`` is between two files."""
        self._halves.ask_in(folder)

    def asked_for(self, path: str) -> None:
        """Note that the kernel asks for a name: returns when that is not between two files.

        What had it and has lost it was removed, not replaced by halves.
        """
        self.settle_hidden()
        if (file := self._halves.ask(path)) is not None:
            self.note_removed(file)

    def settle_hidden(self, *, all_of_them: bool = False) -> None:
        """Note in the journal which files were surely removed, not replaced by halves.

        Should the mount die before, the next one gives such a file its name back.
        """
        for file in self._halves.settle(all_of_them=all_of_them):
            self.note_removed(file)

    def note_removed(self, file: OpenFile) -> None:
        """Note in the journal that a hidden file has lost its name for good."""
        is_open = self._by_path.get(file.path) is file
        if is_open and file.may_be_stored and file.removed and not file.lost_name:
            self._note_orphan(file)

    def _note_orphan(self, file: OpenFile) -> None:
        record = {"path": file.path, "is_sure": True}
        try:
            self._services.journal.put("orphans", file.store_path, record)
        except FsError as error:
            # What has happened is no failure of whatever call notes it.
            log.warning("%r may come back should this process die: %s", file.path, error)

    def unhide(self, file: OpenFile, path: str) -> None:
        """Give a hidden file its name back, as nothing came in its place.

        Raises ``StoreError``: it is still without a name, and is tried again when it ends.
        """
        orphan = file.store_path
        if file.may_be_stored:
            file.lost_name = path
            self._move_back(orphan, path)
            file.lost_name = ""
        with self._lock:
            self._hidden.discard(file.path)
            self._by_path.pop(file.path, None)
            file.removed = False
            file.path = file.store_path = path
            self._by_path[path] = file

    def _delete_orphan(self, file: OpenFile) -> None:
        if not file.may_be_stored:
            return
        if file.lost_name:
            self._find_place(file)
            return
        with self._lock:
            self._halves.forget(file)
        # Before it goes: should we die in that, the name must not come back.
        self._note_orphan(file)
        try:
            self._services.store.delete_file(file.store_path)
        except NotFound:
            log.debug("orphan %s is gone already", file.store_path)
        except StoreError as error:
            # It stays in the journal: the next mount tries again.
            log.warning("orphan %s could not be removed: %s", file.store_path, error)
            return
        self._services.journal.drop("orphans", file.store_path)

    def _find_place(self, file: OpenFile) -> None:
        """Give a file its name back that lost it to a rename which failed; it may be dirty then."""
        orphan, path = file.store_path, file.lost_name
        with self._lock:
            file.removed = False
            file.path = path
        try:
            self._move_back(orphan, path)
        except StoreError as error:
            log.error("%r lies in %s: the next mount gives it its name: %s", path, orphan, error)
            return
        self._services.keeper.change(path, file.attributes)
        if file.entry is not None:  # an own change: a listing may lag behind it
            self._services.catalog.cache.put(path, file.entry)

    def _move_back(self, orphan: str, path: str) -> None:
        with suppress(NotFound):  # nothing of it was in the store
            self._services.catalog.move_file(orphan, path, overwrite=False)
        self._services.journal.drop("orphans", orphan)
