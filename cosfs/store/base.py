"""Owns the narrow interface between the file system and an object store; must not know protocols.

The file system speaks fs_paths (``/a/b``, the root ``/``); a store alone knows how a path is spelt
as a key, how metadata and odd names are written on its protocol, and how content travels. Every
method may be called by many threads at once, blocks until it is done, and ends within the store's
time budget. All raise the neutral classes of ``errors``: ``StoreError`` and below, and, nothing
sent, ``NameTooLong`` or ``InvalidName`` for a path that cannot be spelt and ``InvalidArgument`` for
metadata that no object can have.

**Marks.** A listing does not carry POSIX attributes, and a stat per name is what makes other mounts
slow. So a folder can have a *mark*, which its listing shows: without it, none of the names in it
has stored attributes, and no stat is needed. The file system makes the mark before it stores the
first attributes of a name in the folder. The mark also holds what the folder itself has beyond
``biz_attr``: its own attributes and its other properties.

**Later changes.** A store may keep changes on the local disk and make them a little later, in the
order in which they were asked for as far as names are concerned. It then shows them at once to its
caller, and ``settle`` waits for them. The ``base`` of a change is what the caller believes to be
there: who knows does not ask, and what is made later finds out whether it is still true.

A change whose answer was lost is settled inside the store by looking, so an exception of a changing
method means: either not done, or (``Unavailable`` only) nobody could find out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cosfs.model import Base, Entry, ListPage, Metadata, Scope, Source, Version

_NOTHING = Metadata()


def ignore(_path: str) -> None:
    """Take no note."""


class Store(Protocol):
    """An object store seen as files and folders."""

    def probe(self) -> None:
        """Check that endpoint, credentials and bucket are good.

        Raises:
            BadCredentials, BucketNotFound, Unavailable: what is wrong.
        Cost: 1 request.
        """
        ...

    def check_path(self, path: str) -> None:
        """Raise ``NameTooLong`` or ``InvalidName`` if ``path`` cannot be a key. Cost: none."""
        ...

    def check_folder(self, path: str) -> None:
        """Raise ``NameTooLong`` or ``InvalidName`` if ``path`` cannot be a marked folder.

        Such a folder of somebody else can be read, but no attributes can be stored in it. Cost:
        none.
        """
        ...

    def stat_file(self, path: str) -> Entry:
        """Return the file at ``path``, metadata included, as the server knows it now.

        Raises:
            NotFound: no file of this name (a folder of this name does not count).
        Cost: 1 request.
        """
        ...

    def stat_folder(self, path: str) -> Entry:
        """Return the folder at ``path`` with its ``biz_attr``; an implied one is ``NotFound``.

        What its mark holds is not among the metadata. The root always exists; it may be implied.
        Cost: 1 request.
        """
        ...

    def stat_mark(self, folder: str) -> Metadata:
        """Return what the mark of ``folder`` holds: its attributes and properties but ``biz_attr``.

        Raises ``NotFound`` if the folder has no mark. Cost: 1 request.
        """
        ...

    def mark_folder(
        self, folder: str, holding: Metadata = _NOTHING, *, base: Base | None = None
    ) -> bool:
        """Mark ``folder``, which may be the root: names in it may have stored attributes from now.

        Returns whether the mark was made, with what it is to be ``holding`` of the folder's own
        attributes and properties; an existing mark stays as it is. ``base`` is of the mark.
        Cost: 1 request.
        """
        ...

    def list_page(self, folder: str, *, prefix: str = "", cursor: str = "") -> ListPage:
        """Return one page of what lies directly in ``folder``.

        ``prefix`` keeps the names that begin with it. ``cursor`` is the one of the page before.
        A folder that does not exist lists as empty. Where a file and a folder have one name, the
        folder is shown; as they may stand on different pages, whoever joins pages lets the folder
        win too. Names that the store keeps for itself are not shown. A server may make an implied
        folder look real. Listings may lag behind other changes.
        Cost: 1 request.
        """
        ...

    def read_range(self, path: str, offset: int, into: memoryview, version: Version) -> None:
        """Fill ``into`` with the bytes from ``offset`` of exactly this ``version``.

        Raises:
            ObjectChanged: the server holds another version now.
            NotFound: it holds none.
            TruncatedBody: the body broke off more often than is worth trying again.
            InvalidArgument: the range does not lie inside ``version``; nothing is sent.
        Cost: 1 request; one more when the server's version mark cannot be compared.
        """
        ...

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
        """Store ``source`` with ``metadata`` under ``path``, atomically; return the new entry.

        Replaces an existing file unless ``create_only``. Properties of ``metadata`` that the old
        object had and the new one has not are gone. Readers see the old content or the new one.
        ``nonce``, 32 lower-case hex digits, goes with the file where it can, so that a stat tells
        it from what others made; ``create_only`` makes one up for itself where none is given.
        Content that cannot go at once lies under another, reserved name until it is whole: that is
        told to ``staging`` before, as it stays there when this process dies.
        The facts of the entry's metadata are ``None``: only a stat knows them. Its times are a
        guess of what the server says. When what does not travel with content fails, the error says
        that the content is stored: storing once more is right.

        Raises:
            AlreadyExists: ``create_only`` and there is a file with this name.
            TooLarge: more than a store can hold.
            AttributesTooLarge: ``metadata`` is more than the server takes; nothing is stored.
        Cost: 1 request for content up to the store's limit of one upload, else slices + 3; 1 more
            when ``metadata`` holds what does not travel with content.
        """
        ...

    def move_file(
        self, old: str, new: str, *, overwrite: bool, base: Base | None = None
    ) -> None:
        """Rename a file; content and metadata travel with it. ``base`` is of ``old``.

        Raises:
            NotFound: no file at ``old``.
            AlreadyExists: not ``overwrite`` and there is a file at ``new``.
        Cost: 1 request.
        """
        ...

    def delete_file(self, path: str, *, base: Base | None = None) -> None:
        """Remove a file. Raises ``NotFound``. Cost: 1 request."""
        ...

    def make_folder(
        self, path: str, *, biz_attr: bytes = b"", base: Base | None = None
    ) -> Entry:
        """Create a folder. Raises ``AlreadyExists`` if it really exists. Cost: 1 request.

        Raises also what ``check_folder`` does.
        """
        ...

    def delete_folder(
        self, path: str, *, marked: bool, holding: Metadata = _NOTHING
    ) -> None:
        """Remove an empty folder, before it its mark if it is ``marked``.

        The caller has made sure that it is empty: a server may keep what lies below and drop the
        folder alone. Raises ``NotFound`` for an implied one, ``FolderNotEmpty`` where the server
        checks; the mark is made again then, with what it was ``holding``. When no answer can be
        had, the mark may be gone. Cost: 1 request, 1 more if ``marked``.
        """
        ...

    def set_metadata(self, path: str, entry: Entry, metadata: Metadata) -> None:
        """Make properties and attributes of ``metadata`` the whole of what ``path`` has.

        ``entry`` tells file from folder and, by its ``metadata``, what is there now, so that only
        what differs is sent; all is, where it is ``None``. An implied folder becomes a real one.

        Raises:
            NotFound: it is gone; not noticed of a folder whose mark alone differs.
            NotSupported: the root cannot carry ``biz_attr`` here.
            AttributesTooLarge: more than the server takes; nothing is sent.
        Cost: 1 request; none when nothing differs; for a folder 1 each for ``biz_attr`` and the
            mark, which is made if it is missing (1 more), and 1 for an implied one if ``biz_attr``
            does not differ.
        """
        ...

    def check_property(self, path: str, name: str, value: bytes) -> None:
        """Check that a property may be set, before anything is sent. Cost: none.

        Raises:
            InvalidArgument: the name or the value is not one this store can hold.
            NotPermitted: a fact, or a name that is reserved.
            AttributesTooLarge: the value is longer than the server takes.
        """
        ...

    def settle(self, path: str, scope: Scope = Scope.NAME) -> None:
        """Return when the server holds every change that was made at ``path``.

        Raises what stands in the way of one. Cost: that of what is not stored yet; none in a store
        that makes changes at once.
        """
        ...

    def takes_at_once(self, size: int) -> bool:
        """Tell whether a new file of ``size`` bytes is stored without asking anybody else.

        Its caller needs no way to give up then. Cost: none.
        """
        ...

    def close(self) -> None:
        """Give back connections; further calls are errors."""
        ...
