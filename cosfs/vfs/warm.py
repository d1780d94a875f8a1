"""Owns fetching a tree into the caches because somebody asks for it; must not know who, or how it
is shown.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, replace
from typing import Final

from cosfs import paths
from cosfs.errors import ConfigError, CosfsError
from cosfs.model import Entry
from cosfs.vfs.blocks import BlockCache
from cosfs.vfs.catalog import Catalog
from cosfs.vfs.diskcache import DiskCache
from cosfs.vfs.files import OpenFiles
from cosfs.vfs.segments import Content
from cosfs.vfs.streams import MIB, Stream

log = logging.getLogger(__name__)

#: Seconds that an answer about what goes on may wait for its end.
_ANSWER_S: Final = 0.5

_STEP: Final = 1 * MIB

#: Does some work; returns what is to be done next.
Task = Callable[[], Iterable["Task"]]


@dataclass(frozen=True, slots=True)
class Warmed:
    """How far it has come. ``files`` with ``bytes`` were found in ``folders``.

    ``read_bytes`` were fetched or found so far. At the end, ``kept_files`` with ``kept_bytes`` are
    here; there was no room for ``left_files`` with ``left_bytes``; ``failed`` names could not be
    had, of which ``failure`` tells the first. ``has_ended``: nothing more will happen.
    """

    folders: int = 0
    files: int = 0
    bytes: int = 0
    read_bytes: int = 0
    kept_files: int = 0
    kept_bytes: int = 0
    left_files: int = 0
    left_bytes: int = 0
    failed: int = 0
    failure: str = ""
    is_listed: bool = False
    has_ended: bool = False


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    content: Content
    on_disk: bool = False

    @property
    def size(self) -> int:
        return self.content.version.size


class _Job:
    """One tree. Thread safety: any method from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._state = Warmed()
        self.is_cancelled = False
        #: What could not be had.
        self.failed: set[str] = set()
        self.thread: threading.Thread | None = None

    def add(self, **numbers: int) -> None:
        with self._changed:
            sums = {name: getattr(self._state, name) + more for name, more in numbers.items()}
            self._state = replace(self._state, **sums)

    def fail(self, path: str, error: CosfsError) -> None:
        with self._changed:
            self.failed.add(path)
            first = self._state.failure or f"{path}: {error}"
            self._state = replace(self._state, failed=self._state.failed + 1, failure=first)

    def note(self, *, is_listed: bool = False, has_ended: bool = False) -> None:
        with self._changed:
            self._state = replace(self._state, is_listed=is_listed, has_ended=has_ended)
            self._changed.notify_all()

    @property
    def has_ended(self) -> bool:
        return self._state.has_ended

    def state(self) -> Warmed:
        """Return how far it has come, at its end or a little later than now."""
        with self._changed:
            self._changed.wait_for(lambda: self._state.has_ended, _ANSWER_S)
            return self._state


class Warmer:
    """Fetches listings, attributes and contents of trees.

    Thread safety: any method from any thread.
    """

    def __init__(
        self,
        catalog: Catalog,
        files: OpenFiles,
        blocks: BlockCache,
        disk: DiskCache | None,
        executor: Executor,
        parallel: int,
    ) -> None:
        """Do at most half of ``parallel`` things at once in ``executor``: others read too."""
        self._catalog = catalog
        self._files = files
        self._blocks = blocks
        self._disk = disk
        self._executor = executor
        self._at_once = max(1, parallel // 2)
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._jobs: dict[int, _Job] = {}
        #: Nothing more is begun.
        self.is_ending = False

    def begin(self, path: str) -> int:
        """Begin to fetch what is at ``path`` and below; return the number to ask with.

        Raises ``NotFound``. Cost: what listing and reading all of it costs, for what is not here.
        """
        entry = self._catalog.get(path)
        job = _Job()
        job.thread = threading.Thread(
            target=self._run, args=(job, path, entry), name="warm", daemon=True
        )
        with self._lock:
            if self.is_ending:
                raise ConfigError("the mount is ending")
            # Nobody asks any more for what has ended and was not told.
            self._jobs = {n: one for n, one in self._jobs.items() if not one.has_ended}
            number = next(self._numbers)
            self._jobs[number] = job
        job.thread.start()
        return number

    def progress(self, number: int) -> Warmed:
        """Return how far it has come, within half a second. What has ended is told once."""
        with self._lock:
            job = self._jobs.get(number)
        if job is None:
            raise ConfigError(f"nothing is being fetched under the number {number}")
        state = job.state()
        if state.has_ended:
            with self._lock:
                self._jobs.pop(number, None)
        return state

    def cancel(self, number: int) -> None:
        """Begin nothing more of it, if it goes on."""
        with self._lock:
            job = self._jobs.pop(number, None)
        if job is not None:
            job.is_cancelled = True

    def stop(self) -> None:
        """End all of it."""
        with self._lock:
            jobs = list(self._jobs.values())
            for job in jobs:
                job.is_cancelled = True
            self.is_ending = True
        for job in jobs:
            if job.thread is not None:
                job.thread.join()

    # -- one tree ----------------------------------------------------------------------------

    def _run(self, job: _Job, path: str, entry: Entry) -> None:
        try:
            found: list[_File] = []
            self._all(job, [lambda: self._visit(job, path, entry, found)])
            job.note(is_listed=True)
            chosen = self._chosen(job, sorted(found, key=lambda file: file.path))
            if self._disk is None:
                self._fetch_all(job, chosen)
            else:
                with self._disk.patient():
                    self._fetch_all(job, chosen)
        except Exception:
            log.exception("fetching %r ended early", path)
            job.fail(path, CosfsError("an unexpected error, see the log"))
        finally:
            job.note(is_listed=True, has_ended=True)

    def _all(self, job: _Job, tasks: Iterable[Task]) -> None:
        """Do tasks, and those that they bring, a few at once."""
        todo, running = deque(tasks), set[Future[Iterable[Task]]]()
        while running or (todo and not job.is_cancelled):
            while todo and len(running) < self._at_once and not job.is_cancelled:
                running.add(self._executor.submit(todo.popleft()))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                todo.extend(future.result())

    def _visit(self, job: _Job, path: str, entry: Entry, found: list[_File]) -> Iterable[Task]:
        """Learn of a name, and of those in it."""
        tasks: list[Task] = []
        try:
            self._catalog.attributes(path, entry)
            if not entry.is_folder:
                job.add(files=1, bytes=entry.size)
                if entry.digest:
                    # Without one, nothing tells it from what will be there when it is opened.
                    found.append(_File(path, Content(entry.version)))
                return ()
            for name, one in self._catalog.listing(path).items():
                tasks.append(self._visiting(job, paths.join(path, name), one, found))
            job.add(folders=1)
        except CosfsError as error:
            job.fail(path, error)
        return tasks

    def _visiting(self, job: _Job, path: str, entry: Entry, found: list[_File]) -> Task:
        return lambda: self._visit(job, path, entry, found)

    def _chosen(self, job: _Job, found: list[_File]) -> list[_File]:
        """Return what there is room for, what goes into memory at the end."""
        memory = self._blocks.usage().limit
        disk = 0 if self._disk is None else self._disk.limit
        # What passes through memory on its way to a larger disk does not stay in memory.
        uses_disk = disk > memory
        on_disk: list[_File] = []
        in_memory: list[_File] = []
        for file in found:
            if self._files.is_dirty_at(file.path):
                job.add(kept_files=1, kept_bytes=file.size, read_bytes=file.size)
            elif uses_disk and self._disk is not None and self._disk.takes(file.content.version):
                cost = self._disk.cost_of(file.size)
                if cost <= disk:
                    disk -= cost
                    on_disk.append(replace(file, on_disk=True))
                    continue
                job.add(left_files=1, left_bytes=file.size)
            elif file.size <= memory:
                memory -= file.size
                in_memory.append(file)
            else:
                job.add(left_files=1, left_bytes=file.size)
        return on_disk + in_memory

    def _fetch_all(self, job: _Job, chosen: list[_File]) -> None:
        self._all(job, [self._fetching(job, file, is_first=True) for file in chosen])
        missing = [file for file in self._missing(chosen) if file.path not in job.failed]
        self._all(job, [self._fetching(job, file, is_first=False) for file in missing])
        left = {file.path for file in self._missing(missing)}
        for file in chosen:
            if file.path in job.failed:
                continue
            if file.path in left:
                job.add(left_files=1, left_bytes=file.size)
            else:
                job.add(kept_files=1, kept_bytes=file.size)

    def _missing(self, files: list[_File]) -> list[_File]:
        """Return which of ``files`` are not where they are to be."""
        if self._disk is not None:
            self._disk.settle()
        return [file for file in files if self._held(file) < file.size]

    def _held(self, file: _File) -> int:
        if file.on_disk and self._disk is not None:
            return self._disk.held_until(file.content.version, 0)
        return self._blocks.held_until(file.content, 0)

    def _fetching(self, job: _Job, file: _File, *, is_first: bool) -> Task:
        return lambda: self._fetch(job, file, is_first)

    def _fetch(self, job: _Job, file: _File, is_first: bool) -> Iterable[Task]:
        """Read a file through the caches, as a program would."""
        stream = Stream()
        into = memoryview(bytearray(min(_STEP, file.size)))
        at = 0
        try:
            while at < file.size and not job.is_cancelled:
                count = self._blocks.read_into(
                    file.content, lambda: file.path, at, into, stream
                )
                if not is_first:
                    self._keep(file, at, into[:count])
                else:
                    job.add(read_bytes=count)
                at += count
        except CosfsError as error:
            job.fail(file.path, error)
        finally:
            self._blocks.close(stream)
        return ()

    def _keep(self, file: _File, at: int, data: memoryview) -> None:
        """Put on the disk what came from memory, and so has not passed it."""
        disk, version = self._disk, file.content.version
        if file.on_disk and disk is not None and disk.held_until(version, at) < at + len(data):
            disk.put(version, at, data)
