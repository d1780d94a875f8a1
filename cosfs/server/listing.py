"""Pages of a listing.

Owns the paging algorithm of section 3.4 of the protocol notes, cursors, folding, and the delay
after which a change shows up; must not know HTTP or how rows are stored.
"""

import base64
import binascii
import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from cosfs.server import codes
from cosfs.server.codes import Refusal
from cosfs.server.objects import StoredObject
from cosfs.server.state import State, key_after

_BATCH = 256
# So many changes, at least, pass until what listings no longer need is forgotten.
_SWEEP_CHANGES = 1024


class ListEntry(NamedTuple):
    """One line of a listing: a file, a marker or a virtual folder (`entry` is None)."""

    name: bytes
    entry: StoredObject | None


@dataclass(frozen=True, slots=True)
class ListRequest:
    """What to list. An empty delimiter lists recursively; `cursor` is the last counted key."""

    bucket: str
    folder: bytes
    prefix: bytes
    num: int
    delimiter: bytes
    cursor: bytes
    marker_slot: bool


@dataclass(slots=True)
class ListPage:
    """Some entries, and where to go on; `cursor` is None when nothing is left."""

    entries: list[ListEntry] = field(default_factory=list)
    cursor: bytes | None = None


def encode_cursor(key: bytes) -> str:
    """Spell a cursor so that it survives a URL unquoted."""
    return base64.urlsafe_b64encode(key).decode().rstrip("=")


def decode_cursor(text: str, folder: bytes) -> bytes:
    """Read a cursor of a folder's listing.

    Raises:
        Refusal: -5999 when this server did not make it for the folder.
    """
    if not text:
        return b""
    try:
        padded = text + "=" * (-len(text) % 4)
        key = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        key = b""
    if not key or not key.startswith(folder):
        raise Refusal(codes.BAD_PARAMETER, "the context is not one of this folder")
    return key


Scan = Callable[[bytes, bytes], Iterator[StoredObject]]


def list_page(scan: Scan, request: ListRequest) -> ListPage:
    """Return the next page.

    Args:
        scan: yields what is visible with `start <= key < end`, in bytewise order of keys.
    """
    base = request.folder + request.prefix
    end = key_after(base)
    start = base
    if request.cursor:
        start = max(base, _after_cursor(request, base))
    page = ListPage()
    counted = 0
    last = b""
    while start < end:
        next_start = end
        for entry in scan(start, end):
            if entry.key == request.folder:
                # The marker is never shown; it may take a slot all the same.
                if not request.marker_slot:
                    continue
                listed = None
                folded = False
            else:
                listed, folded = _fold(entry, request, base)
            if counted == request.num:
                page.cursor = last
                return page
            counted += 1
            if listed is None:
                last = entry.key
                continue
            page.entries.append(listed)
            last = request.folder + listed.name
            if folded:
                next_start = key_after(last)
                break
        start = next_start
    return page


def _after_cursor(request: ListRequest, base: bytes) -> bytes:
    cursor = request.cursor
    if request.delimiter and cursor.find(request.delimiter, len(base)) >= 0:
        return key_after(cursor)
    return cursor + b"\0"


def _fold(entry: StoredObject, request: ListRequest, base: bytes) -> tuple[ListEntry, bool]:
    """Return the line an object appears as, and whether others may appear as the same line."""
    found = entry.key.find(request.delimiter, len(base)) if request.delimiter else -1
    if found < 0:
        return ListEntry(entry.key[len(request.folder) :], entry), False
    folded = entry.key[: found + len(request.delimiter)]
    name = folded[len(request.folder) :]
    return ListEntry(name, entry if folded == entry.key else None), True


def iter_visible(state: State, bucket: str, start: bytes, end: bytes) -> Iterator[StoredObject]:
    """Yield objects, and unfinished uploads where there is no object, in order of keys."""
    pending = [upload.to_object() for upload in state.uploads.scan(bucket, start, end)]
    objects = _iter_objects(state, bucket, start, end)
    return _merge(objects, pending) if pending else objects


def _merge(
    objects: Iterator[StoredObject], pending: list[StoredObject]
) -> Iterator[StoredObject]:
    last = None
    # Objects come first among equal keys: an unfinished overwrite does not hide the old file.
    for entry in heapq.merge(objects, pending, key=lambda entry: entry.key):
        if entry.key != last:
            yield entry
        last = entry.key


def _iter_objects(state: State, bucket: str, start: bytes, end: bytes) -> Iterator[StoredObject]:
    limit = 16
    while True:
        batch = state.objects.scan(bucket, start, end, limit)
        yield from batch
        if len(batch) < limit:
            return
        start = batch[-1].key + b"\0"
        limit = _BATCH


class DelayedView:
    """Shows listings as they were some seconds ago.

    Remembers what was there before each change of the last seconds. Belongs to the thread of the
    state; what is remembered is lost at a restart, after which listings are up to date.
    """

    def __init__(self, state: State, delay_s: float, clock: Callable[[], float]) -> None:
        self._state = state
        self._delay_s = delay_s
        self._clock = clock
        # For every key the times of its changes and what was there before each.
        self._before: dict[str, dict[bytes, list[tuple[float, StoredObject | None]]]] = {}
        self._until_sweep = _SWEEP_CHANGES
        if delay_s > 0:
            state.watch(self._remember)

    def _remember(self, bucket: str, key: bytes, entry: StoredObject | None) -> None:
        now = self._clock()
        history = self._before.setdefault(bucket, {}).setdefault(key, [])
        history[:] = [change for change in history if change[0] > now - self._delay_s]
        history.append((now, entry))
        self._until_sweep -= 1
        if self._until_sweep <= 0:
            # Nobody may ever list a bucket. As many changes as keys are left pass until the next
            # sweep, so that a change costs the same however many there are.
            kept = sum(len(self._past(name)) for name in self._before)
            self._until_sweep = max(_SWEEP_CHANGES, kept)

    def scan(self, bucket: str, start: bytes, end: bytes) -> Iterator[StoredObject]:
        """Yield what a listing may show with `start <= key < end`, in order of keys."""
        present = iter_visible(self._state, bucket, start, end)
        if self._delay_s <= 0:
            return present
        past = self._past(bucket)
        if not past:
            return present
        old = sorted(
            (entry for key, entry in past.items() if entry is not None and start <= key < end),
            key=lambda entry: entry.key,
        )
        unchanged = (entry for entry in present if entry.key not in past)
        return heapq.merge(unchanged, old, key=lambda entry: entry.key)

    def _past(self, bucket: str) -> dict[bytes, StoredObject | None]:
        shown = self._clock() - self._delay_s
        changes = self._before.get(bucket, {})
        past = {}
        for key, history in list(changes.items()):
            recent = [change for change in history if change[0] > shown]
            if recent:
                changes[key] = recent
                past[key] = recent[0][1]
            else:
                del changes[key]
        return past
