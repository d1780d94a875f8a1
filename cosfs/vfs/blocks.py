"""Owns file content in memory: what is fetched, kept and dropped, within the mount's bound.

Content lies in segments by version: as large as a sequential reader can use, as small as a random
one asks for. Must not know paths' meaning, handles or what is written.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from cosfs import interrupts
from cosfs.errors import Interrupted, NotFound, ObjectChanged
from cosfs.store.base import Store
from cosfs.vfs.diskcache import DiskCache
from cosfs.vfs.fetching import Fetcher
from cosfs.vfs.integrity import Chain
from cosfs.vfs.pools import Pools
from cosfs.vfs.segments import Content, Segment, Segments
from cosfs.vfs.segmenttable import SegmentTable
from cosfs.vfs.streams import PIECE_MAX, UNIT, Run, Stream
from cosfs.vfs.types import ContentUsage

log = logging.getLogger(__name__)

#: Bytes of the largest fetch. Content up to this size is fetched as a whole, and so checked.
BLOCK_SIZE: Final = PIECE_MAX

Where = Callable[[], str]


class BlockCache:
    """Content of all open files, least recently used out first, bounded in bytes.

    What is being fetched counts too: who needs more than there is waits, and what is fetched ahead
    never takes more than half. Nobody who waits holds what others wait for.

    Thread safety: any method from any thread; the lock is never held while anything is fetched.
    """

    def __init__(
        self,
        store: Store,
        pools: Pools,
        max_bytes: int,
        parallel: int,
        disk: DiskCache | None = None,
    ) -> None:
        """Fetch ahead ``parallel`` pieces at once; look at ``disk`` before each.

        What is waited for by callers who may give up is fetched in other threads, to their end:
        ``store`` must not write into a buffer that is given to something else.
        """
        self._fetcher = Fetcher(store, disk)
        self._ahead = pools.content
        self._patient = pools.questions
        self._hashing = pools.hashing
        self._parallel = parallel
        # A quarter of the bound at most, so that several can wait for each other's end.
        self._piece_max = min(PIECE_MAX, 1 << (max(max_bytes // 4, UNIT).bit_length() - 1))
        self._lock = threading.Lock()
        self._table = SegmentTable(max(max_bytes, UNIT), self._piece_max, self._lock)
        self._memory = self._table.memory
        self._hits = self._fetches = 0

    # -- reading -----------------------------------------------------------------------------

    def read_into(
        self,
        content: Content,
        where: Where,
        offset: int,
        into: memoryview,
        stream: Stream | None = None,
        until: int = 0,
    ) -> int:
        """Fill ``into`` with the bytes from ``offset`` of ``content``; fewer only at its end.

        ``where`` gives the path at which the store holds the content when a fetch begins. Bytes up
        to ``until`` will be wanted too. Returns how many bytes there were.

        Raises:
            ObjectChanged, NotFound: the store holds this version no longer.
            IntegrityError: it was read as a whole, and has other bytes each time.
            StoreError: it could not be read.
            Interrupted: the caller has given up.
        Cost: 0 for what is here, 1 request for content of up to ``BLOCK_SIZE``, else 1 for each
            piece: what is asked at random, growing to ``BLOCK_SIZE`` where it is read in sequence.
        """
        end = min(offset + len(into), content.version.size)
        if offset >= end:
            return 0
        at = offset
        run: Run | None = None
        if stream is not None:
            with self._lock:
                if self._read_on(content, offset, end, into, stream):
                    return end - offset
                run = self._note(content, offset, end - offset, stream)
        while True:
            with self._lock:
                at = self._copy(content, offset, at, end, into, stream)
                wanted = None
                if at < end:
                    wanted = self._wanted(content, at, max(end, until), run, stream)
                ahead = self._plan(content, run, stream) if run and stream else []
            for segment in ahead:
                self._ahead.submit(self._fetch_ahead, segment, where)
            if at == end:
                break
            if wanted is not None:
                at = self._await(wanted, where, offset, at, end, into, stream)
            if at == end:
                break
        if stream is not None and stream.chain is not None and stream.chain.is_complete:
            self._settle(stream.chain, where)
        return end - offset

    def read(self, content: Content, where: Where, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``offset``; otherwise as ``read_into``."""
        buffer = bytearray(max(0, min(size, content.version.size - offset)))
        self.read_into(content, where, offset, memoryview(buffer))
        return bytes(buffer)

    def close(self, stream: Stream) -> None:
        """Note that nobody reads by ``stream`` any more: what is fetched ahead for it ends."""
        with self._lock:
            if stream.content is not None:
                for run in stream.runs:
                    self._table.abandon(stream.content, run)

    def keep(self, content: Content, data: bytes) -> None:
        """Keep the whole of a small content that the caller has at hand, if there is room."""
        if not 0 < len(data) == content.version.size <= self._piece_max:
            return
        with self._lock:
            if self._table.of(content) is None and self._memory.try_take(len(data)):
                segment = Segment(content, 0, memoryview(data), None)
                segment.is_begun = True
                self._table.add(segment)
                self._table.make_ready(segment)

    def fetch_whole(self, content: Content, where: Where) -> None:
        """Fetch a small content that somebody may want soon, if there is room. Never fails.

        Cost: 1 request if it is not here.
        """
        size = content.version.size
        with self._lock:
            if not 0 < size <= self._piece_max or self._table.of(content) is not None:
                return
            buffer = self._memory.try_buffer(size)
            if buffer is None:
                return
            segment = Segment(content, 0, buffer, None)
            segment.is_begun = True
            self._table.add(segment)
        self._fetch(segment, where)

    def held_until(self, content: Content, offset: int) -> int:
        """Return up to where the bytes from ``offset`` on are in memory. Cost: none."""
        with self._lock:
            segments = self._table.of(content)
            segment = segments and segments.at(offset)
            while segments and segment and segment.is_ready:
                offset = segment.end
                segment = segments.at(offset)
        return offset

    def holding(self, size: int) -> AbstractContextManager[None]:
        """Count ``size`` bytes that somebody else needs for a while; waits for them."""
        return self._memory.holding(size)

    def usage(self) -> ContentUsage:
        """Return what is in memory, and how often it was of use."""
        with self._lock:
            return ContentUsage(
                bytes=self._memory.taken,
                limit=self._memory.limit,
                hits=self._hits,
                fetches=self._fetches,
            )

    # -- one read, under the lock ------------------------------------------------------------

    def _read_on(
        self, content: Content, offset: int, end: int, into: memoryview, stream: Stream
    ) -> bool:
        """Copy what the segment that was read last still has, if there is nothing else to do.

        That is so for most reads of a sequential reader: its speed depends on this.
        """
        segment = stream.segment
        if (
            segment is None
            or not offset  # hashing along may begin there
            or stream.content is not content
            or segment.is_dropped
            or not segment.start <= offset
            or end > segment.end
            or stream.chain is not None and stream.chain.is_complete
            or not stream.goes_on(offset, end, content.version.size)
        ):
            return False
        start = segment.start
        into[: end - offset] = segment.data[offset - start : end - start]
        self._table.touch(segment)
        self._hits += 1
        return True

    def _note(self, content: Content, offset: int, size: int, stream: Stream) -> Run:
        """Let ``stream`` know of a read; return its run."""
        if stream.content is not content:
            if stream.content is not None and stream.content != content:
                for run in stream.runs:
                    self._table.abandon(stream.content, run)
                stream.restart()
            stream.content = content
        run, ended = stream.note(offset, size)
        for other in ended:
            self._table.abandon(content, other)
        if offset == 0:
            self._begin_chain(content, stream)
        return run

    def _copy(
        self, content: Content, offset: int, at: int, end: int, into: memoryview,
        stream: Stream | None,
    ) -> int:  # fmt: skip
        """Copy what is ready from ``at`` on; return where that ends."""
        segments = self._table.of(content)
        while segments is not None and at < end:
            segment = segments.at(at)
            if segment is None or not segment.is_ready:
                break
            self._hits += 1
            self._table.touch(segment)
            at = self._take(segment, offset, at, end, into, stream)
        return at

    def _take(
        self, segment: Segment, offset: int, at: int, end: int, into: memoryview,
        stream: Stream | None,
    ) -> int:  # fmt: skip
        """Copy what is wanted of a ready segment."""
        stop = min(end, segment.end)
        start = segment.start
        into[at - offset : stop - offset] = segment.data[at - start : stop - start]
        self._table.note_read(segment)
        # By the time that it comes, another thread may read another version by the same stream.
        if stream is not None and stream.content == segment.content:
            stream.segment = segment
            if stream.chain is not None:
                stream.chain.follow(segment, self._table.of(segment.content))
        return stop

    def _wanted(
        self, content: Content, at: int, end: int, run: Run | None, stream: Stream | None
    ) -> Segment | None:
        """Return a segment that will hold the byte at ``at``, used by the caller from now on.

        ``None``: memory had to be waited for, and everything may be different now.
        """
        segments = self._table.of(content)
        segment = None if segments is None else segments.at(at)
        if segment is None:
            segments = segments or Segments()
            begin, stop = self._range(content, segments, at, end, run, stream)
            buffer = self._memory.try_buffer(stop - begin)
            if buffer is None:
                buffer = self._memory.buffer(stop - begin)
                now = self._table.of(content)
                if now is not None and now.within(begin, stop):
                    self._memory.give_back(buffer)
                    return None
            segment = Segment(content, begin, buffer, None)
            self._table.add(segment)
        if run is not None:
            run.note_wait()
        segment.users += 1
        self._table.note_read(segment)
        return segment

    def _range(
        self,
        content: Content,
        segments: Segments,
        at: int,
        end: int,
        run: Run | None,
        stream: Stream | None,
    ) -> tuple[int, int]:
        """Return which bytes to fetch where those from ``at`` to ``end`` are missing."""
        size = content.version.size
        if size <= self._piece_max:
            return 0, size
        length = end - at
        if run is not None and stream is not None:
            length = stream.first_size(run, length)
            window = stream.window(run, self._share())
            length = max(length, min(window, run.piece))
        length = min(length, self._piece_max)
        stop = min(-(-(at + length) // UNIT) * UNIT, size)
        return segments.gap(at, at - at % UNIT, stop)

    def _plan(self, content: Content, run: Run, stream: Stream) -> list[Segment]:
        """Make the segments that are to be fetched ahead of ``run``, as far as there is room."""
        size = content.version.size
        share = self._share()
        window = stream.window(run, share)
        piece = min(run.piece, self._piece_max)
        until = min(run.end + window, size)
        begin = max(run.planned, run.end)
        if size <= self._piece_max:
            run.planned = size
            return []
        if until - begin < min(piece, size - begin) or begin >= size:
            return []
        made: list[Segment] = []
        segments = self._table.of(content)
        half = self._memory.limit // 2
        while segments is not None and begin < until and self._table.unread < half:
            known = segments.at(begin)
            if known is not None:
                begin = known.end
                continue
            stop = min(begin + piece, size)
            if stop > until:
                break
            begin, stop = segments.gap(begin, begin, stop)
            buffer = self._memory.try_buffer(stop - begin)
            if buffer is None:
                break
            segment = Segment(content, begin, buffer, run)
            self._table.add(segment)
            made.append(segment)
            begin = stop
        run.planned = max(run.planned, begin)
        return made

    def _share(self) -> int:
        """Return how much may be fetched ahead of one run: what is left, so that all get some."""
        # One piece more than are fetched at once, for the next to begin before one is read.
        most = (self._parallel + 1) * self._piece_max
        return max(0, min(most, self._memory.limit // 2 - self._table.unread))

    # -- fetching ----------------------------------------------------------------------------

    def _await(
        self, segment: Segment, where: Where, offset: int, at: int, end: int, into: memoryview,
        stream: Stream | None,
    ) -> int:  # fmt: skip
        """Fetch a segment, or wait for who does, and copy from it; return where that ends."""
        with self._lock:
            is_begun, segment.is_begun = segment.is_begun, True
            segment.is_unwanted = False
            waiting = segment.waiting()
        try:
            if not is_begun and interrupts.is_watched():
                self._patient.submit(self._fetch, segment, where)
            elif not is_begun:
                self._fetch(segment, where)
            interrupts.wait(waiting)
        except Interrupted:
            with self._lock:
                self._table.leave(segment)
                segment.is_unwanted = not segment.users
            raise
        with self._lock:
            error = segment.error
            if error is None:
                at = self._take(segment, offset, at, end, into, stream)
            self._table.leave(segment)
        try:
            if isinstance(error, Interrupted):
                # Nobody wanted it for a moment; unless our caller has given up, it is fetched anew.
                interrupts.check()
            elif error is not None and not (is_begun and _is_of_a_place(error)):
                raise error
        finally:
            # Its traceback holds this frame: the two would keep the buffer that was given back.
            del error
        return at

    def _fetch_ahead(self, segment: Segment, where: Where) -> None:
        with self._lock:
            if segment.is_begun or segment.is_dropped:
                return
            segment.is_begun = True
        self._fetch(segment, where)

    def _fetch(self, segment: Segment, where: Where) -> None:
        try:
            with interrupts.watched(lambda: segment.is_unwanted):
                self._fetcher.fill(segment, where)
        except Exception as error:
            # Raised by whoever waits for it; what was fetched ahead and nobody waits for is
            # fetched anew, and fails anew, when somebody wants it.
            log.debug("fetching %d of %s failed: %s", segment.start, segment.content, error)
            with self._lock:
                segment.error = error
                self._table.drop(segment)
            return
        with self._lock:
            self._fetches += 1
            self._table.make_ready(segment)
            self._memory.nudge()

    # -- digests -----------------------------------------------------------------------------

    def _begin_chain(self, content: Content, stream: Stream) -> None:
        """Hash along from the first byte on, if that can tell anything."""
        if stream.chain is not None and not stream.chain.is_complete:
            return
        segments = self._table.of(content)
        is_checked = segments is not None and segments.is_checked
        version = content.version
        is_small = version.size <= self._piece_max
        if is_checked or is_small or not version.digest or stream.is_trusting:
            stream.chain = None
        else:
            stream.chain = Chain(content, self._hashing, self._release)

    def _release(self, segment: Segment) -> None:
        with self._lock:
            self._table.leave(segment)

    def _settle(self, chain: Chain, where: Where) -> None:
        """Raise ``IntegrityError`` if what was read has other bytes each time it is fetched."""
        content = chain.content
        if chain.settle(lambda: self._digest_again(content, where), where):
            return
        with self._lock:
            segments = self._table.of(content)
            if segments is not None:
                segments.is_checked = True

    def _digest_again(self, content: Content, where: Where) -> str:
        """Fetch a content once more, whatever is here of it, and return its digest."""
        self._fetcher.distrust(content)
        with self._lock:
            segments = self._table.of(content)
            for segment in segments.within(0, content.version.size) if segments else ():
                if segment.is_ready:
                    self._table.drop(segment)
        sha1 = hashlib.sha1(usedforsecurity=False)
        stream = Stream(is_trusting=True)
        piece = memoryview(bytearray(min(UNIT * 8, content.version.size)))
        for at in range(0, content.version.size, len(piece)):
            count = self.read_into(content, where, at, piece, stream)
            sha1.update(piece[:count])
        return sha1.hexdigest()


def _is_of_a_place(error: Exception) -> bool:
    """Tell whether a content that was asked for at one path may still be at another."""
    return isinstance(error, (NotFound, ObjectChanged))
