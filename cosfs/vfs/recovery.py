"""Owns finishing what a killed mount had begun, before this one answers; must not know programs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from cosfs.errors import AlreadyExists, CosfsError, NotFound
from cosfs.model import Attributes, Entry, Metadata, Version
from cosfs.store.base import Store
from cosfs.vfs.journal import Journal, overwrite_of
from cosfs.vfs.names import Names

log = logging.getLogger(__name__)


class Recovery:
    """Finishes what the journal says was begun.

    What cannot be finished now, as the store does not answer, stays in the journal for the next
    mount, and the log says so.
    """

    def __init__(self, store: Store, journal: Journal, names: Names) -> None:
        self._store = store
        self._journal = journal
        self._names = names
        # By now: what this mount is about to note there is in use.
        self._rubbish = [
            (table, path) for table in ("orphans", "staged") for path in journal.all(table)
        ]

    def run(self) -> None:
        """Finish what programs would see. Cost: 0 after a mount that ended well."""
        for path, record in self._journal.all("renames").items():
            self._try("renames", path, partial(self._names.folder_renames.finish, path, record))
        for path, record in self._journal.all("overwrites").items():
            self._try("overwrites", path, partial(self._restore, path, record))
        for path, record in self._journal.all("orphans").items():
            if not record["is_sure"]:
                self._try("orphans", path, partial(self._place_orphan, path, record))

    def clean(self) -> None:
        """Delete what nobody will ask for any more: nobody waits for that.

        That is what was removed while it was open, and what was uploaded of large files.
        """
        for table, path in self._rubbish:
            self._try(table, path, partial(self._store.delete_file, path))

    def _place_orphan(self, orphan: str, record: dict[str, Any]) -> None:
        """Give a name back that was taken for a rename which then did not come."""
        path = record["path"]
        try:
            self._store.move_file(orphan, path, overwrite=False)
        except AlreadyExists:
            self._store.delete_file(orphan)
        else:
            self._names.resend(path, Attributes(**record.get("attributes", {})))
            log.warning("%r lost its name to a rename and has it again", path)

    def _try(self, table: str, path: str, finish: Callable[[], None]) -> None:
        try:
            finish()
        except NotFound:
            log.debug("%s of %r: it is gone", table, path)
        except CosfsError as error:
            log.error("%s of %r, which a mount before this one began: %s", table, path, error)
            return
        self._journal.drop(table, path)

    def _restore(self, path: str, record: dict[str, Any]) -> None:
        """Put back what stood beside an object, if its new content came without."""
        entry = self._store.stat_file(path)
        version, wanted = overwrite_of(record)
        if _is_content(entry, version) and _has_lost_something(entry, wanted):
            log.warning("putting back metadata of %r, which was being overwritten", path)
            self._store.set_metadata(path, entry, wanted)


def _is_content(entry: Entry, version: Version) -> bool:
    """Tell whether an object has this content, by its size alone where a digest is not known."""
    has_digests = entry.digest and version.digest
    return entry.version == version if has_digests else entry.size == version.size


def _has_lost_something(entry: Entry, wanted: Metadata) -> bool:
    """Tell whether an object has nothing but what travels with content."""
    there = entry.metadata
    assert there is not None
    if there.properties.keys() - {"biz_attr"}:
        return False
    if there.attributes == wanted.attributes:
        return there.properties.keys() < wanted.properties.keys()
    return there.attributes == Attributes() and there.properties.keys() <= wanted.properties.keys()
