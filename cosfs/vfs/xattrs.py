"""Owns extended attributes: which exist, and how changing one keeps the others (design 4).

Must not know how a store spells metadata, nor attribute namespaces other than ``user.``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from cosfs.errors import AttributeExists, InvalidArgument, NoSuchAttribute, NotPermitted
from cosfs.model import Metadata
from cosfs.store.base import Store
from cosfs.vfs.catalog import Catalog
from cosfs.vfs.files import OpenFiles
from cosfs.vfs.pathlocks import PathLocks

_PREFIX: Final = "user."

#: Facts of the object, which only the server decides: ``user.cos.sha`` and its like.
_FACTS: Final = "cos."


class XAttrs:
    """Extended attributes of files and folders.

    Thread safety: changes of one name are made one after the other, under the lock of its path.
    """

    def __init__(
        self, store: Store, catalog: Catalog, files: OpenFiles, locks: PathLocks
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._files = files
        self._locks = locks

    def names(self, path: str) -> list[str]:
        """Return every name that ``get`` can read. Cost: 0, or 1 if metadata is not known."""
        # Facts first: asking for them may show that it is another object by now.
        facts = self._facts(path)
        return sorted(_PREFIX + name for name in (*self._metadata(path).properties, *facts))

    def get(self, path: str, name: str) -> bytes:
        """Return a value. Raises ``NoSuchAttribute``. Cost: 0, or 1 if metadata is not known."""
        wanted = _property(path, name)
        if wanted.startswith(_FACTS):
            value = self._facts(path).get(wanted)
        else:
            value = self._metadata(path).properties.get(wanted)
        if value is None:
            raise NoSuchAttribute(path, name)
        return value

    def set(self, path: str, name: str, value: bytes, *, create: bool, replace: bool) -> None:
        """Set one attribute; the others stay. Cost: 1, and 1 more if metadata is not known.

        Raises:
            AttributeExists, NoSuchAttribute: as ``create`` or ``replace`` demand.
            NotPermitted, InvalidArgument, AttributesTooLarge, NotSupported: see the store.
        """
        wanted = _property(path, name)
        self._store.check_property(path, wanted, value)
        with self._locks.holding(path):
            metadata = self._metadata(path)
            if create and wanted in metadata.properties:
                raise AttributeExists(path, name)
            if replace and wanted not in metadata.properties:
                raise NoSuchAttribute(path, name)
            self._write(path, metadata.with_property(wanted, value))

    def remove(self, path: str, name: str) -> None:
        """Remove one attribute. Raises ``NoSuchAttribute``. Cost: as ``set``."""
        wanted = _property(path, name)
        with self._locks.holding(path):
            if wanted.startswith(_FACTS):
                raise NotPermitted(path, f"{name} is a fact of the object")
            metadata = self._metadata(path)
            if wanted not in metadata.properties:
                raise NoSuchAttribute(path, name)
            self._write(path, metadata.with_property(wanted, None))

    def _metadata(self, path: str) -> Metadata:
        file = self._files.local_at(path)
        if file is None:
            return self._catalog.metadata(path, self._catalog.get(path))
        if file.entry is None:
            return file.new_metadata
        return self._catalog.metadata(file.store_path, file.entry)

    def _facts(self, path: str) -> Mapping[str, bytes]:
        """Return what the server decides; nothing for what it does not hold yet."""
        facts = self._metadata(path).facts
        file = self._files.local_at(path)
        if facts is None and (file is None or file.entry is not None):
            where = path if file is None else file.store_path
            known = self._catalog.stat(where, self._catalog.get(where)).metadata
            facts = known.facts if known is not None else None
        return facts or {}

    def _write(self, path: str, metadata: Metadata) -> None:
        file = self._files.local_at(path)
        if file is not None and file.entry is None:
            # Travels with the first store of the file.
            file.new_metadata = metadata
            return
        if file is not None and file.entry is not None:
            where, entry = file.store_path, file.entry
        else:
            where, entry = path, self._catalog.get(path)
        known = replace(entry, metadata=self._catalog.metadata(where, entry))
        with self._catalog.unsure_if_lost(where):
            self._store.set_metadata(where, known, metadata)
        self._catalog.own_metadata(where, known, metadata)
        if file is not None:
            file.note_metadata(metadata)


def _property(path: str, name: str) -> str:
    if not name.startswith(_PREFIX):
        raise NoSuchAttribute(path, f"{name}: only names that begin with user. exist here")
    if len(name) == len(_PREFIX):
        raise InvalidArgument(path, "an attribute needs a name after user.")
    return name[len(_PREFIX) :]
