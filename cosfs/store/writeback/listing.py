"""Owns folders' listings with changes that wait, or were made so late that a page may lack them.

Must not know how changes are made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from cosfs import paths
from cosfs.clock import Clock
from cosfs.errors import NotFound
from cosfs.model import Entry
from cosfs.model import Kind as EntryKind
from cosfs.model import ListPage
from cosfs.store.base import Store
from cosfs.store.names import MARKER_NAME, is_reserved
from cosfs.store.writeback.backlog import Backlog
from cosfs.store.writeback.recent import Made
from cosfs.store.writeback.view import Gone, Node

#: Listings of several pages that are under way.
_MOST_LISTINGS: Final = 1000


@dataclass(frozen=True, slots=True)
class _Begun:
    """A listing of which pages are still to come: since when, what none has shown so far of what
    was made of late, and which folders one has shown in which something waits.
    """

    at: float
    unseen: frozenset[str]
    shown: frozenset[str] = frozenset()


class Listings:
    """Lays what waits over the pages of ``inner``. Thread safety: any number of threads."""

    def __init__(self, inner: Store, seen: Store, backlog: Backlog, clock: Clock) -> None:
        """``seen`` is the store as its user sees it, with what waits."""
        self._inner = inner
        self._seen = seen
        self._backlog = backlog
        self._clock = clock
        #: By folder, prefix and cursor.
        self._begun: dict[tuple[str, str, str], _Begun] = {}

    def page(self, folder: str, prefix: str, cursor: str) -> ListPage:
        """Return one page; see ``Store.list_page``.

        What waits and the server has not is on the last page. Cost: 1; 1 for each name on which
        the page and what was made of late do not agree.
        """
        # What waits is looked at first: what is made meanwhile must not fall between.
        with self._backlog.lock:
            view = self._backlog.view
            is_new = view.is_new_folder(folder)
            local = view.local_names(folder, prefix)
            made = {
                name: one
                for name, one in self._backlog.recent.names_in(folder, prefix).items()
                if not is_reserved(name, at_root=folder == paths.ROOT)
            }
            emptied = {
                name
                for name in local
                if view.has_gone_below(paths.join(folder, name))
                and view.folders.get(paths.join(folder, name)) is None
            }
            removed = {
                name
                for name in local
                if view.folders.get(at := paths.join(folder, name)) is None and at in view.folders
            }
            is_marked = view.marks[folder] is not None if folder in view.marks else None
            if is_marked is None and self._backlog.recent.is_marked(folder):
                is_marked = True
            begun = self._begun.pop((folder, prefix, cursor), None) if cursor else None
        # Of a folder that was made of late, more is known than that something waits in it.
        local = {
            name: known
            for name, known in local.items()
            if not (_is_implied(known) and _is_folder(made.get(name)))
        }
        if begun is None:
            begun = _Begun(self._clock.monotonic(), frozenset(made))
        if is_new:
            page = ListPage({}, None)
        else:
            page = self._inner.list_page(folder, prefix=prefix, cursor=cursor)
        entries = dict(page.entries)
        unseen = begun.unseen - entries.keys()
        late = {name: made[name] for name in made if name not in local}
        self._agree(folder, entries, late, begun)
        for name in emptied & entries.keys():
            if entries[name].implied and self._is_empty(paths.join(folder, name)):
                del entries[name]
        above = {name for name, known in local.items() if _is_implied(known)}
        shown = begun.shown | {name for name in above & entries.keys() if entries[name].is_folder}
        is_last = page.cursor is None
        for name, known in local.items():
            is_removed = name in removed
            if name in above and name in begun.shown:
                continue
            if isinstance(known, Node) and self._is_as_listed(
                known, paths.join(folder, name), entries.get(name), made.get(name)
            ):
                continue
            self._lay(folder, name, known, entries, is_removed=is_removed, is_last=is_last)
        if page.cursor is None:
            self._add_unseen(folder, entries, late, begun, unseen)
        else:
            self._go_on((folder, prefix, page.cursor), _Begun(begun.at, unseen, shown))
        marked = page.marked
        if is_marked is not None and MARKER_NAME.startswith(prefix):
            marked = is_marked and (page.marked or page.cursor is None)
        return ListPage(MappingProxyType(entries), page.cursor, marked)

    @staticmethod
    def _is_as_listed(node: Node, path: str, listed: Entry | None, made: Made | None) -> bool:
        """Tell whether a page shows a file, of which nothing but metadata waits, as it is."""
        if listed is None or listed.is_folder or node.content or node.places != (path,):
            return False
        return made is None or _is_same(listed, made.entry)

    def _lay(
        self,
        folder: str,
        name: str,
        known: Entry | Node | Gone,
        entries: dict[str, Entry],
        *,
        is_removed: bool,
        is_last: bool,
    ) -> None:
        """Put what waits at ``name`` over a page; ``is_removed``: a folder there is to go."""
        listed = entries.get(name)
        if listed is None and not is_last:
            return
        if isinstance(known, Gone):
            if listed is not None and (known.folder if listed.is_folder else known.file):
                del entries[name]
            return
        if isinstance(known, Node):
            try:
                known = replace(self._seen.stat_file(paths.join(folder, name)), metadata=None)
            except NotFound:
                entries.pop(name, None)
                return
        is_folder = listed is not None and listed.is_folder and not is_removed
        if is_folder and (not known.is_folder or known.implied):
            return  # a folder wins over a file, a real one over one that is implied
        entries[name] = known

    def _agree(
        self, folder: str, entries: dict[str, Entry], made: dict[str, Made], begun: _Begun
    ) -> None:
        """Let listed names be what they were made to be of late, or find out."""
        for name, one in made.items():
            listed = entries.get(name)
            if listed is None or _is_same(listed, one.entry):
                continue
            truth = one.entry
            if one.at < begun.at:
                truth = self._ask(paths.join(folder, name), listed)
            if truth is None:
                del entries[name]
            else:
                entries[name] = replace(truth, metadata=None)

    def _add_unseen(
        self,
        folder: str,
        entries: dict[str, Entry],
        made: dict[str, Made],
        begun: _Begun,
        unseen: frozenset[str],
    ) -> None:
        """Add what was made of late and no page has shown, if it is there."""
        for name, one in made.items():
            if one.entry is None or name in entries:
                continue
            truth: Entry | None = None
            if one.at >= begun.at:
                truth = one.entry
            elif name in unseen:
                truth = self._ask(paths.join(folder, name), one.entry)
            if truth is not None:
                entries[name] = replace(truth, metadata=None)

    def _ask(self, path: str, like: Entry) -> Entry | None:
        """Return what the server has at ``path``."""
        try:
            if not like.is_folder:
                return self._inner.stat_file(path)
            return self._inner.stat_folder(path)
        except NotFound:
            if like.is_folder and not self._is_empty(path):
                return Entry(EntryKind.FOLDER, implied=True)
            return None

    def _is_empty(self, folder: str) -> bool:
        """Tell whether nothing is in ``folder``, and it has no mark. Cost: its pages, or fewer."""
        cursor: str | None = ""
        while cursor is not None:
            page = self._seen.list_page(folder, cursor=cursor)
            if page.entries or page.marked:
                return False
            cursor = page.cursor
        return True

    def _go_on(self, key: tuple[str, str, str], begun: _Begun) -> None:
        with self._backlog.lock:
            self._begun[key] = begun
            while len(self._begun) > _MOST_LISTINGS:
                del self._begun[next(iter(self._begun))]


def _is_implied(known: Entry | Node | Gone) -> bool:
    return isinstance(known, Entry) and known.implied


def _is_folder(made: Made | None) -> bool:
    return made is not None and made.entry is not None and made.entry.is_folder


def _is_same(listed: Entry, made: Entry | None) -> bool:
    if made is None:
        return False
    if made.is_folder or listed.is_folder:
        return made.is_folder == listed.is_folder
    return listed.version == made.version
