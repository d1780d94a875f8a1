"""Owns what a person asks about things that are not stored: which, store them now, drop them.

Content is stored again as every other is: through an open file, under the lock of its path, with
the metadata that stands at its name, refused over a version that it was not made from.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Collection
from concurrent.futures import Executor
from dataclasses import replace
from typing import NamedTuple, NoReturn

from cosfs import paths
from cosfs.errors import (
    AlreadyExists,
    Busy,
    CosfsError,
    IsFolder,
    NotFound,
    ObjectChanged,
    Stale,
    StoreFailed,
    Unavailable,
)
from cosfs.model import Entry, Kind, Version
from cosfs.vfs.files import OpenFiles
from cosfs.vfs.metacache import Times
from cosfs.vfs.openfile import OpenFile, Services
from cosfs.vfs.pending import Kept, reason_of
from cosfs.vfs.spool import Spool
from cosfs.vfs.types import PendingUsage, Unstored

log = logging.getLogger(__name__)

#: Why content is not stored again: something else is in its place.
_CONFLICTS = (AlreadyExists, IsFolder, ObjectChanged, Stale)


class Retried(NamedTuple):
    """What a retry has stored, and what is still left."""

    stored: list[Unstored]
    left: list[Unstored]


class Leftovers:
    """See the module's text.

    Thread safety: any method from any thread; one retry or drop at a time.
    """

    def __init__(self, services: Services, files: OpenFiles, executor: Executor) -> None:
        self._services = services
        self._keeper = services.keeper
        self._cache = services.catalog.cache
        self._files = files
        self._pending = files.pending
        self._executor = executor
        self._changing = threading.Lock()

    def all(self) -> list[Unstored]:
        """Return what is not stored: content that nobody has open, and attributes."""
        contents = [_unstored(kept) for kept in self._pending.all()]
        attributes = [
            Unstored("attributes", path, reason, since)
            for path, since, reason in self._keeper.all_unsent()
        ]
        return contents + attributes

    def usage(self) -> PendingUsage:
        """Return how much is not stored."""
        everything = self.all()
        contents = [one for one in everything if one.kind == "content"]
        return PendingUsage(
            files=len(contents),
            bytes=sum(one.size for one in contents),
            attributes=len(everything) - len(contents),
        )

    def retry(self, names: Collection[str] = (), *, force: bool = False) -> Retried:
        """Store now what is called by ``names`` (paths, or files that hold content), or all.

        What cannot be stored is kept with the new reason. Once the server turns out to be
        unreachable, the rest is not tried. Of several contents of a name the newest is stored, and
        the others go with it, but for those that were refused in favour of somebody else's.

        With ``force`` content is stored over whatever version is there now.
        Raises ``NotFound``: a name that nothing is called by.
        """
        with self._changing:
            chosen = self._chosen(names)
            newest = {kept.path: kept for kept in self._pending.all() if _unstored(kept) in chosen}
            unreachable = threading.Event()

            def attempt(kept: Kept) -> bool:
                return self._retry(kept, force, unreachable)

            done = self._executor.map(attempt, newest.values())
            stored = [_unstored(kept) for kept, ok in zip(newest.values(), done, strict=True) if ok]
            attributes = [one for one in chosen if one.kind == "attributes"]
            failed = dict(self._keeper.send_all([one.path for one in attributes]))
            stored += [one for one in attributes if one.path not in failed]
        return Retried(stored, self.all())

    def drop(self, names: Collection[str]) -> list[Unstored]:
        """Forget what is called by ``names``, for good; return what that was.

        Raises ``NotFound``: a name that nothing is called by.
        """
        with self._changing:
            chosen = self._chosen(names)
            for kept in self._pending.all():
                if _unstored(kept) in chosen:
                    self._pending.drop(kept)
            for one in chosen:
                log.warning("dropped, unstored: %s of %r", one.kind, one.path)
                if one.kind == "attributes":
                    self._keeper.gone(one.path)
        return chosen

    def _chosen(self, names: Collection[str]) -> list[Unstored]:
        everything = self.all()
        for name in names:
            if not any(one.is_called(name) for one in everything):
                raise NotFound("nothing of this name is pending", path=name)
        if not names:
            return everything
        return [one for one in everything if any(map(one.is_called, names))]

    def _retry(self, kept: Kept, force: bool, unreachable: threading.Event) -> bool:
        if unreachable.is_set():
            return False
        try:
            self._store(kept, force)
        except CosfsError as error:
            log.warning("%r cannot be stored now: %s", kept.path, error)
            if isinstance(error, Unavailable):
                unreachable.set()
            return False
        log.info("stored %r, which was kept in %s", kept.path, kept.data)
        return True

    def _store(self, kept: Kept, force: bool) -> None:
        path = kept.path
        if self._files.local_at(path) is not None:
            self._refuse(kept, Busy(path, "a program has it open: try again after its close"))
        self._cache.forget(path)
        there = self._services.catalog.find(path)
        if there is not None and there.is_folder:
            self._refuse(kept, IsFolder(path))
        base = None
        if kept.base is not None:
            base = Entry(Kind.FILE, size=kept.base.size, digest=kept.base.digest)
        if force:
            base = self._now(path)
            if kept.missing and (base is None or base.version != kept.base):
                raise Stale(path, "parts of it were in a version that is gone")
        file = OpenFile(self._services, path, base, Spool.adopt(kept.data, path, kept.missing))
        file.new_metadata = kept.metadata
        file.exclusive = base is None and not force
        file.set_mtime(kept.mtime_ns)
        try:
            file.store()
        except StoreFailed as error:
            given_up = file.give_up()
            assert given_up is not None
            # Without an answer, nobody knows what is there.
            self._cache.forget(path)
            if not self._is_stored(kept, error.cause):
                self._refuse(replace(kept, missing=given_up.missing), error.cause)
        else:
            file.close()
        self._pending.drop(kept)
        self._pending.superseded(path)
        if there is None:
            now = self._services.clock.wall_ns()
            self._cache.set_times(paths.parent(path), None, Times(mtime_ns=now, ctime_ns=now))

    def _refuse(self, kept: Kept, cause: CosfsError) -> NoReturn:
        """Keep what could not be stored, with the reason, and raise that."""
        reason = reason_of(cause)
        is_conflict = isinstance(cause, _CONFLICTS)
        if is_conflict:
            reason = f"another version is there now ({reason})"
        self._pending.update(replace(kept, reason=reason, is_conflict=is_conflict))
        raise cause

    def _now(self, path: str) -> Entry | None:
        try:
            return self._services.catalog.stat(path, Entry(Kind.FILE))
        except NotFound:
            return None

    def _is_stored(self, kept: Kept, cause: CosfsError) -> bool:
        """Tell whether what is in the way is this very content: the answer to its store was lost.

        Cost: 1 request after a conflict.
        """
        if kept.missing or not isinstance(cause, _CONFLICTS):
            return False
        there = self._now(kept.path)
        if there is None or there.size != kept.size:
            return False
        with open(kept.data, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha1").hexdigest()
        return there.version == Version(digest, kept.size)


def _unstored(kept: Kept) -> Unstored:
    return Unstored(
        "content",
        kept.path,
        kept.reason,
        kept.since,
        size=kept.size,
        missing=kept.missing_bytes,
        file=str(kept.data),
    )
