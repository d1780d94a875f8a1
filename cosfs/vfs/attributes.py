"""Owns POSIX attributes that programs set: where they are until they are sent, and sending them.

Must not know open files, or what attributes mean.

A change is journaled, shown at once, and sent joined with later ones of the same name: a second
after the first of them, or before when somebody asks for it (fsync, the end of the mount). It
travels with the content instead where content is about to be stored.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Final

from cosfs import paths
from cosfs.clock import Clock
from cosfs.config import AttrsOption
from cosfs.errors import CosfsError, NotFound, Transient, Unavailable
from cosfs.model import Attributes, Base, Entry, Metadata
from cosfs.store.base import Store
from cosfs.vfs.catalog import Catalog
from cosfs.vfs.journal import AttributeJournal, Pending
from cosfs.vfs.pathlocks import PathLocks
from cosfs.vfs.pending import reason_of
from cosfs.vfs.singleflight import SingleFlight

log = logging.getLogger(__name__)

#: How long changes of one name are joined.
JOIN_S: Final = 1.0

#: How long a change that could not be sent waits before it is tried again.
_RETRY_S: Final = 5.0

_NOTHING: Final = Attributes()


class AttributeKeeper:
    """See the module's text.

    Thread safety: any method from any thread. One change of a name is sent at a time, under the
    lock of its path.
    """

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        journal: AttributeJournal,
        locks: PathLocks,
        clock: Clock,
        executor: Executor,
        attrs: AttrsOption,
        *,
        at_once: bool = False,
    ) -> None:
        """``at_once``: the store joins changes itself, and takes them without a request."""
        self._store = store
        self._catalog = catalog
        self._journal = journal
        self._locks = locks
        self._clock = clock
        self._executor = executor
        #: Whether attributes are stored at all.
        self.is_on = attrs != "none"
        self._at_once = at_once
        #: Tells of a path whose content is about to be stored, and its attributes with it.
        self.travels: Callable[[str], bool] = lambda _path: False
        #: Several names of a new folder are sent at once.
        self._marking: SingleFlight[str, None] = SingleFlight()
        #: Why the last attempt to send a name's changes failed.
        self._refusals: dict[str, str] = {}
        self._refused: dict[str, Pending] = {}
        self._wake = threading.Condition()
        self._stopping = False
        self._not_before = 0.0
        self._thread: threading.Thread | None = None

    # -- what is true ------------------------------------------------------------------------

    def of(self, path: str, entry: Entry) -> Attributes:
        """Return the attributes of ``path``: stored ones, overridden by changes not sent yet.

        Cost: as ``Catalog.attributes``.
        """
        return self.over(path, self._catalog.attributes(path, entry))

    def over(self, path: str, stored: Attributes) -> Attributes:
        """Return the ``stored`` attributes of ``path``, overridden by changes not sent yet."""
        pending = self._journal.get(path)
        return stored if pending is None else stored.merged(pending.attributes)

    def unsent(self, path: str) -> Attributes:
        """Return the changes of ``path`` that the store does not know."""
        pending = self._journal.get(path)
        return _NOTHING if pending is None else pending.attributes

    # -- changes -----------------------------------------------------------------------------

    def change(self, path: str, attributes: Attributes) -> None:
        """Note a change of a file or folder that the store holds; journaled when this returns."""
        if not self.is_on or attributes == _NOTHING:
            return
        if self._at_once and self._sent_at_once(path, attributes):
            return
        self._journal.note(path, attributes, self._clock.monotonic())
        with self._wake:
            self._wake.notify()

    def _sent_at_once(self, path: str, attributes: Attributes) -> bool:
        """Give a change to the store if nothing has to be asked for that; tell whether it was."""
        if self._journal.get(path) is not None or self.travels(path):
            return False
        cache = self._catalog.cache
        entry = cache.peek(path)
        if not isinstance(entry, Entry):
            return False
        if entry.is_folder:
            mark = cache.mark(path)
            is_known = mark is False or isinstance(mark, Metadata)
        else:
            is_known = cache.metadata(path, entry.version) is not None
        if not is_known or (path != paths.ROOT and cache.mark(paths.parent(path)) is None):
            return False
        try:
            with self._locks.holding(path):
                self._send(path, entry, attributes)
        except CosfsError as error:
            log.debug("attributes of %r are not given to the store: %s", path, error)
            return False
        return True

    def check_folder(self, folder: str) -> None:
        """Raise ``NameTooLong`` if no attributes can be stored in ``folder``. Cost: none."""
        if self.is_on:
            self._store.check_folder(folder)

    def ensure_mark(self, folder: str) -> None:
        """Mark ``folder`` before a name in it gets stored attributes. Cost: 0, or 1 once."""
        if self.is_on and self._catalog.cache.mark(folder) in (None, False):
            self._marking.run(folder, partial(self._mark, folder))

    def _mark(self, folder: str) -> None:
        known = self._catalog.cache.mark(folder)
        if known not in (None, False):
            return  # somebody else has marked it meanwhile
        if self._store.mark_folder(folder, base=None if known is None else Base()):
            self._catalog.cache.put_mark(folder, Metadata())
        else:
            self._catalog.cache.put_mark(folder, True)

    def travels_unasked(self, path: str, metadata: Metadata) -> bool:
        """Tell whether a new file carries ``metadata`` without a question to anybody.

        No properties are surely not too much; attributes need a mark in the folder. Cost: none.
        """
        has_none = not self.is_on or self.unsent(path).merged(metadata.attributes) == _NOTHING
        is_known = has_none or self._catalog.cache.mark(paths.parent(path)) is not None
        return is_known and not metadata.properties

    @contextmanager
    def travelling(self, path: str, metadata: Metadata, mtime_ns: int | None) -> Iterator[Metadata]:
        """Give what content about to be stored under ``path`` carries; it is sent at the end.

        That is ``metadata`` of the old content with the changes not sent yet, and ``mtime_ns`` if a
        program has set the new content's time.
        """
        if not self.is_on:
            yield replace(metadata, attributes=_NOTHING)
            return
        pending = self._journal.get(path)
        attributes = metadata.attributes
        if pending is not None:
            attributes = attributes.merged(pending.attributes)
        attributes = replace(attributes, mtime_ns=mtime_ns)
        if attributes != _NOTHING:
            self.ensure_mark(paths.parent(path))
        yield replace(metadata, attributes=attributes)
        if pending is not None:
            self._journal.sent(path, pending)

    def gone(self, path: str) -> None:
        """Forget the changes of a name that was removed."""
        self._journal.drop(path)

    def renamed(self, old: str, new: str) -> None:
        """Let changes follow a rename."""
        self._journal.rename(old, new)

    # -- sending -----------------------------------------------------------------------------

    def send(self, path: str) -> None:
        """Send what is not sent of ``path``. Raises ``CosfsError``. Cost: 0, or 1 and a mark."""
        if self._journal.get(path) is None:
            return
        with self._locks.holding(path):
            pending = self._journal.get(path)
            if pending is None:
                return
            entry = self._catalog.find(path)
            if entry is not None:
                try:
                    self._send(path, entry, pending.attributes)
                except NotFound:
                    self._catalog.cache.forget(path)
            self._journal.sent(path, pending)

    def send_all(self, only: Iterable[str] | None = None) -> list[tuple[str, CosfsError]]:
        """Send everything, several at a time; return what could not be sent and why."""
        return self._send_several(list(self._journal.all() if only is None else only))

    def send_below(self, top: str) -> None:
        """Send what is not sent of ``top`` and everything below. Raises ``CosfsError``."""
        several = [path for path in self._journal.all() if _is_at_or_below(path, top)]
        failures = self._send_several(several)
        if failures:
            raise failures[0][1]

    def all_unsent(self) -> list[tuple[str, float | None, str]]:
        """Return the paths with unsent changes, since when (Unix seconds), and why."""
        offset = self._clock.wall() - self._clock.monotonic()
        unsent = []
        for path, change in sorted(self._journal.all().items()):
            # When a mount before this one made a change is not known.
            since = change.since + offset if change.since else None
            unsent.append((path, since, self._refusals.get(path, "not sent yet")))
        return unsent

    def start(self) -> None:
        """Begin to send in the background: also what a mount before this one left."""
        self._thread = threading.Thread(target=self._run, name="attributes", daemon=True)
        self._thread.start()

    def stop(self) -> list[tuple[str, CosfsError]]:
        """Send everything and end; return what could not be sent: it stays in the journal."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        return self.send_all()

    def _send(self, path: str, entry: Entry, changes: Attributes) -> None:
        if path != paths.ROOT:
            self.ensure_mark(paths.parent(path))
        if entry.is_folder:
            if self._catalog.cache.mark(path) is False:
                wanted = Metadata().with_attributes(changes)
                if self._store.mark_folder(path, wanted, base=Base()):
                    self._catalog.cache.put_mark(path, wanted)
                    return
                self._catalog.cache.put_mark(path, True)
            known = self._catalog.mark(path)
        else:
            known = self._catalog.metadata(path, entry)
        wanted = known.with_attributes(changes)
        self._store.set_metadata(path, replace(entry, metadata=known), wanted)
        if entry.is_folder:
            self._catalog.cache.put_mark(path, wanted)
        else:
            self._catalog.own_metadata(path, entry, wanted)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._stopping and not self._due():
                    self._wake.wait(self._patience())
                if self._stopping:
                    return
            failures = self._send_several(self._due())
            if failures:
                self._not_before = self._clock.monotonic() + _RETRY_S

    def _due(self) -> list[str]:
        now = self._clock.monotonic()
        if now < self._not_before:
            return []
        return [
            path
            for path, one in self._journal.all().items()
            if now - one.since >= JOIN_S
            and self._refused.get(path) is not one
            and not self.travels(path)
        ]

    def _patience(self) -> float | None:
        waiting = [
            one.since
            for path, one in self._journal.all().items()
            if self._refused.get(path) is not one
        ]
        if not waiting:
            return None
        first = max(min(waiting) + JOIN_S, self._not_before)
        # Never a busy wait: what is due may have to wait for its content.
        return max(first - self._clock.monotonic(), JOIN_S / 10)

    def _send_several(self, several: list[str]) -> list[tuple[str, CosfsError]]:
        outage: list[CosfsError] = []

        def attempt(path: str) -> CosfsError | None:
            # A server that is away would be waited for once for each name.
            return outage[0] if outage else self._try(path, outage)

        results = self._executor.map(attempt, several)
        return [
            (path, error)
            for path, error in zip(several, results, strict=True)
            if error is not None
        ]

    def _try(self, path: str, outage: list[CosfsError]) -> CosfsError | None:
        pending = self._journal.get(path)
        try:
            self.send(path)
        except Transient as error:
            log.warning("attributes of %r are not sent yet: %s", path, error)
            if isinstance(error, Unavailable):
                outage.append(error)
            return self._note_refusal(path, error)
        except CosfsError as error:
            log.error("attributes of %r cannot be sent: %s", path, error)
            failure = error
        except Exception as error:
            # Whatever it is, the changes of other names must go on being sent.
            log.exception("attributes of %r cannot be sent", path)
            failure = CosfsError(repr(error))
        else:
            self._refusals.pop(path, None)
            return None
        if pending is not None:
            # Asking again would be refused again, until the change itself changes.
            self._refused[path] = pending
        return self._note_refusal(path, failure)

    def _note_refusal(self, path: str, error: CosfsError) -> CosfsError:
        self._refusals[path] = reason_of(error)
        return error


def _is_at_or_below(path: str, top: str) -> bool:
    return path == top or paths.is_inside(path, top)
