"""Owns one waiting change made at the server: what it expects, and what its failures mean.

A change that was begun before may have been made: it is then found to be so, and not made twice.
Must not know what else waits.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Protocol

from cosfs.clock import Clock
from cosfs.digests import Trail
from cosfs.errors import (
    AlreadyExists,
    BadCredentials,
    BucketNotFound,
    CosfsError,
    MalformedReply,
    NotFound,
    ObjectChanged,
    SourceFailed,
    Transient,
)
from cosfs.model import Entry
from cosfs.model import Kind as EntryKind
from cosfs.model import Metadata, Version
from cosfs.store.base import Store
from cosfs.store.writeback.content import ContentFolder, StoredFile
from cosfs.store.writeback.operation import Kind, Operation

log = logging.getLogger(__name__)

#: What may pass, or be put right without any change of what waits.
_PASSING = (Transient, BadCredentials, BucketNotFound, MalformedReply)


def may_pass(error: CosfsError) -> bool:
    """Tell whether a change that failed with ``error`` is to be tried again as it is."""
    return isinstance(error, _PASSING)


class Staging(Protocol):
    """Takes note of the places at the server where content is put together."""

    def stage(self, place: str) -> None:
        """Note that something may be at ``place`` from now on."""

    def unstage(self, place: str, *, is_gone: bool) -> None:
        """Note that nothing is there, or that it has to be removed."""


class Sender:
    """Makes changes in ``store``. Thread safety: any number of threads."""

    def __init__(
        self,
        store: Store,
        contents: ContentFolder,
        staging: Staging,
        clock: Clock,
        trusted_s: float,
    ) -> None:
        """What was believed of a name is believed for ``trusted_s`` seconds."""
        self._store = store
        self._contents = contents
        self._staging = staging
        self._clock = clock
        self._trusted_s = trusted_s

    def send(self, operation: Operation, *, was_tried: bool) -> None:
        """Make a change; ``was_tried``: it may have been made already.

        Raises:
            ObjectChanged, AlreadyExists: somebody else's version is in the way.
            CosfsError: it was not made, or nobody could find out (see ``may_pass``).
        """
        if operation.kind is Kind.WRITE:
            self._write(operation, was_tried)
        elif operation.kind is Kind.MOVE:
            self._move(operation, was_tried)
        elif operation.kind is Kind.DELETE:
            self._delete(operation, was_tried)
        elif operation.kind is Kind.SET:
            self._set(operation)
        elif operation.kind is Kind.MAKE:
            self._make(operation)
        elif operation.kind is Kind.MARK:
            self._mark(operation)
        else:
            self._remove(operation)

    # -- files -------------------------------------------------------------------------------

    def _write(self, operation: Operation, was_tried: bool) -> None:
        assert operation.entry is not None
        try:
            file = self._contents.file(operation.content)
            source = StoredFile(file, operation.entry.digest)
        except FileNotFoundError as error:
            # It goes only after the server has it.
            if self._version_at(operation.path) == operation.entry.version:
                return
            raise SourceFailed("its content is gone", path=operation.path) from error
        except OSError as error:
            raise SourceFailed(
                f"its content cannot be read: {error.strerror}", path=operation.path
            ) from error
        try:
            self._write_from(source, operation, was_tried)
        finally:
            source.close()

    def _write_from(self, source: StoredFile, operation: Operation, was_tried: bool) -> None:
        path, entry = operation.path, operation.entry
        assert entry is not None
        if operation.is_replayed:
            found = Version(Trail().read(source).sha, source.size)
            if found != entry.version:
                raise SourceFailed("its content was damaged on the local disk", path=path)
        base = operation.base
        # Made by a mount before this one maybe, long ago: what is there may be newer.
        is_kept = base is not None and (base.is_needed or operation.is_replayed)
        if base is not None and is_kept and self._is_doubtful(operation, was_tried):
            there = self._version_at(path)
            if there not in (None, base.version, entry.version):
                raise ObjectChanged("somebody else replaced the file meanwhile", path=path)
        staged: list[str] = []

        def staging(place: str) -> None:
            self._staging.stage(place)
            staged.append(place)

        is_whole = False
        try:
            self._store.write_file(
                path,
                source,
                metadata=operation.metadata,
                create_only=operation.exclusive,
                staging=staging,
            )
            is_whole = True
        except AlreadyExists:
            there_now = self._stat(path)
            if there_now is None or there_now.version != entry.version:
                raise
            # This very content: an attempt before was answered to nobody.
            self._store.set_metadata(path, there_now, operation.metadata)
        finally:
            for place in staged:
                self._staging.unstage(place, is_gone=is_whole)

    def _move(self, operation: Operation, was_tried: bool) -> None:
        old, new = operation.path, operation.new
        wanted = operation.base.version if operation.base is not None else None
        if self._is_doubtful(operation, was_tried):
            there = self._version_at(old)
            if there is None and self._is_moved(new, wanted):
                return
            if wanted is not None and there is not None and there != wanted:
                raise ObjectChanged("somebody else replaced the file before its rename", path=old)
        self._store.move_file(old, new, overwrite=not operation.exclusive)

    def _is_moved(self, new: str, wanted: Version | None) -> bool:
        found = self._version_at(new)
        return found is not None and wanted in (None, found)

    def _delete(self, operation: Operation, was_tried: bool) -> None:
        path = operation.path
        wanted = operation.base.version if operation.base is not None else None
        if wanted is not None and self._is_doubtful(operation, was_tried):
            there = self._version_at(path)
            if there is None:
                return
            if there != wanted:
                raise ObjectChanged("somebody else replaced the file before its removal", path=path)
        try:
            self._store.delete_file(path)
        except BucketNotFound:
            raise
        except NotFound:
            log.debug("%r was gone when it was to be removed", path)

    def _set(self, operation: Operation) -> None:
        assert operation.entry is not None
        try:
            # An attempt before this one sent the same difference: once more does no harm.
            self._store.set_metadata(operation.path, operation.entry, operation.metadata)
        except BucketNotFound:
            raise
        except NotFound:
            log.debug("%r was gone when its metadata were to be set", operation.path)

    # -- folders -----------------------------------------------------------------------------

    def _make(self, operation: Operation) -> None:
        path = operation.path
        text = operation.metadata.properties.get("biz_attr", b"")
        try:
            self._store.make_folder(path, biz_attr=text)
        except AlreadyExists:
            # Made by an attempt before, or by somebody else: it is there, as was asked for.
            if text:
                there = self._store.stat_folder(path)
                self._store.set_metadata(path, there, operation.metadata)

    def _mark(self, operation: Operation) -> None:
        folder, holding = operation.path, operation.metadata
        if self._store.mark_folder(folder, holding):
            return
        if holding == Metadata():
            return
        there = self._store.stat_mark(folder)
        wanted = replace(
            there,
            properties={**there.properties, **holding.properties},
            attributes=there.attributes.merged(holding.attributes),
        )
        self._store.set_metadata(folder, Entry(EntryKind.FOLDER, metadata=there), wanted)

    def _remove(self, operation: Operation) -> None:
        try:
            self._store.delete_folder(
                operation.path, marked=operation.marked, holding=operation.metadata
            )
        except BucketNotFound:
            raise
        except NotFound:
            log.debug("folder %r had no marker", operation.path)

    # -- what is there now -------------------------------------------------------------------

    def _is_doubtful(self, operation: Operation, was_tried: bool) -> bool:
        """Tell whether what was believed of a name has to be asked for again."""
        return was_tried or self._clock.wall() - operation.since > self._trusted_s

    def _version_at(self, path: str) -> Version | None:
        found = self._stat(path)
        return None if found is None else found.version

    def _stat(self, path: str) -> Entry | None:
        try:
            return self._store.stat_file(path)
        except BucketNotFound:
            raise
        except NotFound:
            return None
