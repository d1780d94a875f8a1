"""Owns fetching small files that may be read soon; must not know who guesses that, or why."""

from __future__ import annotations

from typing import Final

from cosfs import paths
from cosfs.model import Entry
from cosfs.vfs.attrs import inode
from cosfs.vfs.blocks import BlockCache
from cosfs.vfs.files import OpenFiles
from cosfs.vfs.filesahead import Name
from cosfs.vfs.kernelview import KernelView
from cosfs.vfs.metacache import MetaCache
from cosfs.vfs.segments import Content

#: Bytes of the largest file that is fetched because others of its folder were read.
SMALL_MAX: Final = 1024 * 1024


class SmallFiles:
    """Thread safety: any method from any thread."""

    def __init__(
        self, cache: MetaCache, files: OpenFiles, kernel: KernelView, blocks: BlockCache
    ) -> None:
        self._cache = cache
        self._files = files
        self._kernel = kernel
        self._blocks = blocks

    def names_of(self, folder: str) -> list[Name] | None:
        """Return the files of ``folder`` as it lists them, ``None`` if that is not known."""
        listing = self._cache.listing(folder)
        if listing is None:
            return None
        return [
            Name(name, inode(paths.join(folder, name)))
            for name, entry in sorted(listing.items())
            if not entry.is_folder
        ]

    def fetch(self, path: str) -> None:
        """Fetch the whole file at ``path`` if it is small and nobody has it. Never fails.

        Cost: 1 request at most.
        """
        entry = self._cache.lookup(path)
        if not isinstance(entry, Entry) or entry.is_folder or entry.size > SMALL_MAX:
            return
        if not entry.digest:
            # Nothing tells it from what will be there when the file is opened.
            return
        if self._files.at(path) is None and not self._kernel.holds(path, entry.version):
            self._blocks.fetch_whole(Content(entry.version), lambda: path)
