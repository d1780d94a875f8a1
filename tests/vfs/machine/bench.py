"""One mount on one store, with the programs on it, and what the numbers of a step mean."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, TypeVar
from unittest import mock

from cosfs import paths
from cosfs.config import CacheOptions, DataOptions, ViewOptions, WriteBackOptions
from cosfs.store.memory import MemoryStore
from cosfs.vfs.filesystem import FileSystem
from cosfs.vfs.types import Caller
from tests.fakeclock import FakeClock
from tests.vfs.machine.allowed import Allowed, allow
from tests.vfs.machine.behind import Behind
from tests.vfs.machine.faults import CHANGES, Inline, Trouble, Watched
from tests.vfs.machine.kernel import Kernel, OpenFd
from tests.vfs.machine.model import SECOND, Kind, Model, Node, Open
from tests.vfs.machine.processes import Processes

T = TypeVar("T")

UID, GID, UMASK = 7, 8, 0o022
#: Whom processes run as, by their place among those that run.
USERS = ((UID, GID), (UID, GID), (1000, 1001))

NAMES = ("a", "f", "a-", "ab")
#: How deep folders lie in each other.
DEPTH = 3

#: What a number of a path means: a name in some folder, a name that is there, or nonsense.
IN_FOLDER, THERE = range(16), range(16, 28)
NONSENSE = ("/none/f", "/f/a", "/a/f/a/f/a")

MODES = (0o644, 0o600, 0o755, 0o400)


class Bench:
    """See the module's text. A step is one ``with self._step()``."""

    def __init__(
        self,
        *,
        ttl_s: float = 60.0,
        lag_s: float = 0.0,
        page_size: int = 1000,
        excl: Literal["close", "open"] = "close",
        delay_s: float | None = None,
    ) -> None:
        """With ``delay_s`` changes wait so long at least, and until a step makes them."""
        self._ttl_s, self._lag_s, self._excl = ttl_s, lag_s, excl
        self.clock = FakeClock(1_700_000_000.25)
        self.store = MemoryStore(clock=self.clock, page_size=page_size, listing_lag_s=lag_s)
        self._watched = Watched(self.store, self._save_state)
        self._delay_s = delay_s
        self._behind: Behind | None = None
        self._processes = Processes()
        self._pids = [self._processes.start() for _ in USERS]
        self.model = Model(0o777 & ~UMASK, UID, GID)
        self._written = 0
        #: When the step began: who waits for the store lets time pass.
        self._began = self._now()
        self._fds: dict[int, OpenFd] = {}
        self._next_fd = 0
        self._orphans_left = 0
        #: Where the mount after a killed one is killed, if at all.
        self._again: Trouble | None = None
        #: Files without a name or descriptor that will be given their names.
        self._nameless: list[Node] = []
        self._exits = ExitStack()
        self._exits.enter_context(self._processes.visible())
        self._exits.enter_context(mock.patch("cosfs.vfs.pools.ThreadPoolExecutor", Inline))
        for module in ("blocks", "openfile"):
            self._exits.enter_context(mock.patch(f"cosfs.vfs.{module}.BLOCK_SIZE", 8))
        top = Path(tempfile.mkdtemp(prefix="cosfs-machine-"))
        self._exits.callback(shutil.rmtree, top)
        self._state, self._saved_state = top / "state", top / "saved"
        self._state.mkdir()
        self._mount()

    def drop(self) -> None:
        """Give everything back without looking."""
        self._exits.close()

    def _mount(self) -> None:
        if self._delay_s is not None:
            self._behind = Behind(
                self._watched, self._state / "writeback", self.clock, self._delay_s, self._ttl_s
            )
        self.fs = FileSystem(
            self._behind or self._watched,
            clock=self.clock,
            cache=CacheOptions(ttl_s=self._ttl_s),
            view=ViewOptions(uid=UID, gid=GID, umask=UMASK),
            data=DataOptions(
                parallel=1, memory_bytes=256, excl=self._excl, write_back=self._write_back()
            ),
            spool_dir=self._state,
            journal_file=self._state / "journal.sqlite",
        )
        # The keeper's thread would send at any moment; ``send`` is that moment.
        with mock.patch.object(self.fs._keeper, "start"):
            self.fs.start()
        self.kernel = Kernel(self.fs, self.clock)

    def _write_back(self) -> WriteBackOptions:
        return WriteBackOptions("off" if self._behind is None else "on")

    def _bury(self) -> None:
        """Close what a killed mount had open on this machine."""
        if self._behind is not None:
            self._behind.bury()
        self.fs._journal.close()
        for descriptor in list(self.fs._files._descriptors._open.values()):
            descriptor.file.close()

    def _save_state(self) -> None:
        """Keep the state folder as it is: what runs on in a dead mount must not change it."""
        shutil.copytree(self._state, self._saved_state)

    # -- steps ---------------------------------------------------------------------------------

    @contextmanager
    def _step(self) -> Iterator[Step]:
        """Do one thing; then the store holds what it must."""
        before = self.model.all()
        self._began = self._now()
        self._done.clear()
        self._watched.done.clear()
        self._watched.lost.clear()
        self._watched.hits.clear()
        try:
            yield Step(self)
        finally:
            trouble = self._watched.trouble
            if trouble is not None and not self._may_wait(trouble) and trouble.is_over():
                self._watched.trouble = None
        self._end_step(before)

    def _may_wait(self, trouble: Trouble) -> bool:
        """Tell whether trouble with changes has not begun, as none is made yet."""
        return self._behind is not None and trouble.methods == CHANGES and not trouble.seen

    def _end_step(self, before: dict[str, Node]) -> None:
        """Check what must hold after every step; ``before``: what was where when it began."""
        raise NotImplementedError

    @staticmethod
    def _call(call: Callable[[], T]) -> tuple[int, T | None]:
        """Return the errno, 0 for success, and the result of a system call."""
        try:
            return 0, call()
        except OSError as error:
            assert error.errno is not None
            return error.errno, None

    def _written_paths(self) -> set[str]:
        return _paths_of("write_file", self._done)

    def _lost_paths(self) -> set[str]:
        """Return the paths at which something was stored though the mount had no answer."""
        return _paths_of("write_file", self._watched.lost)

    @property
    def _done(self) -> list[tuple[str, tuple[str, ...]]]:
        """What the mount has asked its store for in this step, and got."""
        return (self._behind or self._watched).done

    @property
    def _holder(self) -> Behind | MemoryStore:
        """What tells what is stored, or will be once what waits is made."""
        return self._behind or self.store

    def _held(self, path: str) -> bytes | None:
        """Return the content that the store has at a path."""
        return self._holder.files().get(path)

    # -- what is open --------------------------------------------------------------------------

    def _place(self, node: Node) -> str:
        """Return where a node is, "" if nowhere."""
        return next((path for path, other in self.model.all().items() if other is node), "")

    def _opens_of(self, node: Node) -> list[Open]:
        return [opened for opened in self.model.opens.values() if opened.node is node]

    def _removed(self) -> set[Node]:
        """Return the files that have lost their names and are open."""
        return {opened.node for opened in self.model.opens.values() if opened.node.removed}

    @staticmethod
    def _foreign(node: Node) -> tuple[int, ...]:
        """Return what a descriptor may be told if somebody else has changed the file's name."""
        if not node.overtaken:
            return ()
        return (errno.ESTALE, errno.ENOENT, *([errno.EEXIST] if node.exclusive else ()))

    @staticmethod
    def _is_misnamed(opened: Open, at: OpenFd) -> bool:
        """Tell whether libfuse has hidden a file for a rename that failed: it knows no way back."""
        is_misnamed = at.node.strayed or (at.node.hidden and not opened.node.removed)
        return allow(Allowed.STRAYED, is_misnamed)

    # -- picking -------------------------------------------------------------------------------

    def _path(self, pick: int, *, or_root: bool = False, to_look: bool = False) -> str:
        """Return the path that a number means now: see ``IN_FOLDER``.

        A name that somebody else has changed a moment ago is only looked at.
        """
        path = self._picked(pick, or_root)
        if not to_look and path != paths.ROOT and self.model.is_contested(path):
            return NONSENSE[0]
        return path

    def _picked(self, pick: int, or_root: bool) -> str:
        everything = self.model.all()
        if pick in IN_FOLDER:
            folders = [
                path
                for path, node in everything.items()
                if node.is_folder and len(paths.parts(path)) < DEPTH
            ]
            place, name = divmod(pick, len(NAMES))
            return paths.join(folders[place % len(folders)], NAMES[name])
        there = sorted(everything)[0 if or_root else 1 :]
        if pick in THERE and there:
            return there[(pick - THERE.start) % len(there)]
        return NONSENSE[pick % len(NONSENSE)]

    def _fd(self, pick: int, fits: Callable[[Open], bool]) -> tuple[Open, OpenFd] | None:
        numbers = [number for number in sorted(self._fds) if fits(self.model.opens[number])]
        if not numbers:
            return None
        number = numbers[pick % len(numbers)]
        return self.model.opens[number], self._fds[number]

    def _caller(self, who: int) -> Caller:
        uid, gid = USERS[who]
        return Caller(uid, gid, self._pids[who])

    def _now(self) -> int:
        return self.clock.wall_ns()

    def _seconds(self) -> set[int]:
        """Return the seconds in which this step may have stored something."""
        first, last = self._began // SECOND, self._now() // SECOND
        return {second * SECOND for second in range(first, last + 1)}

    def _text(self, size: int) -> bytes:
        """Return bytes that nobody has written before, if they are not very few."""
        self._written += 1
        return (b"%x." % self._written * size)[:size]

    def _new(self, kind: Kind, mode: int, caller: Caller) -> Node:
        stored: list[bytes | None] = [None]
        return Node(kind, mode, caller.uid, caller.gid, {self._now()}, stored=stored)

    def _kind(self, path: str) -> str:
        node = self.model.find(path)
        return "" if node is None else node.kind


def _paths_of(method: str, requests: Sequence[tuple[str, tuple[str, ...]]]) -> set[str]:
    return {touched[0] for one, touched in requests if one == method}


class Step:
    """What a step may fail with beside what the model says."""

    def __init__(self, bench: Bench) -> None:
        self._watched = bench._watched

    def is_excused(self, number: int, also: Sequence[int] = ()) -> bool:
        """Tell whether a request that failed, or ``also``, explains ``number``."""
        trouble = self._watched.trouble
        is_trouble = trouble is not None and self._watched.hits and number == trouble.number
        if number and is_trouble:
            return allow(Allowed.FAULT)
        return allow(Allowed.FOREIGN_CONTENT, number in also)
