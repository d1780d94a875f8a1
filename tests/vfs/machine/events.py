"""What happens to the mount: time, bad luck, other clients, its end and its next beginning."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from typing import Any

from cosfs import paths
from cosfs.model import Attributes, BytesSource, Metadata
from cosfs.store.writeback.sender import may_pass
from tests.vfs.machine.allowed import Allowed, allow
from tests.vfs.machine.bench import GID, UID, UMASK
from tests.vfs.machine.faults import CHANGES, ERRORS, LOOKS, LOST, Killed, Trouble
from tests.vfs.machine.files import Files
from tests.vfs.machine.model import SECOND, Model, Node

FILE_MODE = 0o666 & ~UMASK


class Events(Files):
    """See the module's text."""

    def do(self, name: str, args: dict[str, Any]) -> None:
        """Do what is called ``name``; if that kills the mount, mount again and look."""
        trouble = self._watched.trouble
        is_deadly = trouble is not None and trouble.error is None
        self._touched: tuple[str, ...] = ()
        self._before = copy.deepcopy(self.model) if is_deadly else self.model
        call: Callable[..., None] = getattr(self, name)
        try:
            call(**args)
        except Killed:
            self._rise(self._before)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        # Some program always looks at something.
        self._stat(paths.ROOT)

    def send(self) -> None:
        """Let the keeper of attributes do what its thread would do now."""
        with self._step():
            keeper = self.fs._keeper
            failures = keeper._send_several(keeper._due())
            assert self._watched.hits or not failures
            if failures:
                keeper._not_before = self.clock.monotonic() + 5

    def make(self, changes: int) -> None:
        """Let some of the changes that wait be made."""
        assert self._behind is not None
        with self._step():
            for _ in range(changes):
                if not self._behind.make():
                    break

    # -- bad luck ------------------------------------------------------------------------------

    def trouble(self, changes: int, nth: int, error: int, lasting: int) -> None:
        """Let requests of the next step fail before anything is done."""
        # What is refused for good later is kept beside, and undone: other tests have that.
        kind, number = ERRORS[error]
        if self._behind is not None and not may_pass(kind("")):
            return
        methods = CHANGES if changes else LOOKS
        self._watched.trouble = Trouble(methods, nth, kind, number, lasting=bool(lasting))

    def lose_answer(self, nth: int) -> None:
        """Let the answer of a change of the next step be lost.

        While listings lag there is no way to tell at once what is so then.
        """
        if self._lag_s:
            return
        kind, number = LOST
        self._watched.trouble = Trouble(CHANGES, nth, kind, number, after=True)

    def kill_at(self, changes: int, nth: int, after: int, again: int) -> None:
        """Let the mount be killed at a request of the next step.

        The next one dies, too, at the request ``again`` with which it finishes what was begun.
        """
        self._again = Trouble(CHANGES + LOOKS, again, after=bool(after))
        methods = CHANGES if changes else LOOKS
        self._watched.trouble = Trouble(methods, nth, after=bool(after))

    # -- somebody else -------------------------------------------------------------------------

    def write_elsewhere(self, path: int) -> None:
        """Another client writes a file."""
        at = self._path(path, to_look=True)
        node = self.model.find(at)
        if not self.model.is_in_folder(at) or node is not None and node.kind != "file":
            return
        self._written += 1
        data = b"<%x>" % self._written
        seconds = self._now() // SECOND * SECOND
        theirs = Node("file", FILE_MODE, UID, GID, {seconds}, data, stored=[data], is_blind=False)
        theirs.later = {seconds}

        def write() -> None:
            self.store.write_file(at, BytesSource(data), metadata=Metadata())

        self._elsewhere(at, write, theirs)

    def delete_elsewhere(self, path: int) -> None:
        """Another client removes a file."""
        at = self._path(path, to_look=True)
        if self._held(at) is not None and self._kind(at) == "file":
            self._elsewhere(at, lambda: self.store.delete_file(at), None)

    def _elsewhere(self, path: str, change: Callable[[], None], node: Node | None) -> None:
        self._watched.trouble = None
        # Changes that are not sent yet would meet another file.
        self.fs._keeper.send_all([path])
        if self.fs._keeper.unsent(path) != Attributes():
            return
        until = self._now() + int((self._ttl_s + self._lag_s) * SECOND)
        mine = self.model.find(path)
        if mine is not None and mine.is_local:
            # When that is closed, what was stored before may be shown.
            was = self._held(path)
            before = copy.copy(mine)
            before.data, before.mtimes, before.opens = was or b"", set(), 0
            self.model.note_earlier(path, None if was is None else before, until)
        self.model.overtake(path, node, until)
        with self.store.unseen():
            change()

    # -- what could not be stored --------------------------------------------------------------

    def retry(self, which: int) -> None:
        """``pending --retry``: store the newest content that is kept of a name."""
        names = {one.path for one in self.fs._files.pending.all()}
        names = {name for name in names if self.model.is_in_folder(name)}
        names = {name for name in names if not self.model.is_contested(name)}
        if not names:
            self._watched.trouble = None
            return
        path = sorted(names)[which % len(names)]
        newest = [one for one in self.fs._files.pending.all() if one.path == path][-1]
        there = self.model.find(path)
        is_free = there is None or (there.kind == "file" and not there.is_local)
        with self._step():
            mine, was = self._kept_as(newest, self.model.pending), self._held(path)
            self.fs.leftovers.retry([path])
            left = {one.data: one for one in self.fs._files.pending.all()}.get(newest.data)
            now = self._held(path)
            if now == mine[1] and (now != was or path in self._written_paths()):
                assert is_free, f"{path}: stored over what is there"
                self._came_back(path, mine[1])
            if left is None:
                self.model.pending.remove(mine)
                self.model.supersede(path)
                return
            assert self._watched.hits or not is_free or left.is_conflict, left.reason
            # If it is done all the same, nobody knows since when.
            self.model.get(paths.parent(path)).mtimes = set()
            place = self.model.pending.index(mine)
            self.model.pending[place] = path, mine[1], left.is_conflict

    def _came_back(self, path: str, data: bytes) -> None:
        node = self.model.find(path)
        if node is None:
            node = self._new("file", FILE_MODE, self._caller(0))
            self.model.make(path, node, self._now())
        elif node.opens:
            # To who has it open this is somebody else's doing.
            node = self._new("file", FILE_MODE, self._caller(0))
            self.model.overtake(path, node, self._now())
        node.data, node.stored, node.is_blind = data, [data], False
        self._adopt_attributes(path, from_store=True)

    # -- ends and beginnings -------------------------------------------------------------------

    def end(self) -> None:
        """Look at everything once more, unmount, and look again."""
        try:
            self._watched.trouble = None
            self.audit()
            self.remount(0)
            self.audit()
            self._stop(offline=False)
        finally:
            self.drop()

    def remount(self, offline: int) -> None:
        """Unmount and mount again; ``offline``: the store cannot be changed meanwhile."""
        trouble = self._watched.trouble
        if offline:
            kind, number = ERRORS[0]
            self._watched.trouble = Trouble(CHANGES, 1, kind, number, lasting=True)
        elif trouble is not None and trouble.error is not None:
            self._watched.trouble = None
        self._stop(offline=bool(offline))
        self._watched.trouble = None
        self._mount_again()

    def kill(self) -> None:
        """Kill the mount: what is not stored is lost, but no attribute of what is stored."""
        self._watched.trouble = None
        self._bury()
        self._lose_opens(self._now())
        self._mount_again()

    def _stop(self, *, offline: bool) -> None:
        with self._step():
            before = self.model.all()
            left = self.fs.stop()
            self._note_stores(before)
            for node in self._removed():
                if node.misplaced and node.dirty:
                    self._give_up(node.name, node)
            self._find_again()
            self._orphans_left += len(self._removed())
            self._nameless += [node for node in self._removed() if node.misplaced]
            for path, node in self.model.all().items():
                if node.dirty:
                    assert offline or self._is_won(path, node), f"{path}: not stored"
                    self._give_up(path, node)
            for node, path in self.model.overtaken().items():
                if node.dirty:
                    self._give_up(path, node)
            assert offline or len(left) == len(self.model.pending), left
            self._check_pending()
        for path, node in self.model.all().items():
            if not node.is_folder:
                self._revert(path, node)
            if not offline:
                self._check_attributes(path, node)
        self._drop_opens()

    def _lose_opens(self, killed_at: int) -> None:
        """Nothing is open any more, and what was not stored is lost."""
        self._orphans_left += len(self._removed())
        # One that lost its name a moment ago may have been about to be replaced.
        self._nameless += [
            node
            for node in self._removed()
            if node.misplaced or killed_at - node.removed_at < SECOND // 2
        ]
        self._drop_opens()
        for path, node in self.model.all().items():
            if not node.is_folder:
                allow(Allowed.LOST_BY_KILL, node.dirty)
                self._revert(path, node)

    def _drop_opens(self) -> None:
        self.model.opens.clear()
        self.model.earlier.clear()
        self._fds.clear()
        for node in self.model.all().values():
            node.opens, node.failed, node.is_local = 0, False, False

    def _mount_again(self) -> None:
        self.clock.advance(self._lag_s)
        self._mount()
        # Names that are given back at the start are listed later, too.
        self.clock.advance(self._lag_s)
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Let the model be what a new mount shows."""
        self._find_again()
        self._nameless.clear()
        self._orphans_left = 0
        for node in self.model.all().values():
            # Its time may be that of a change which is not made yet.
            node.is_inherited = self._behind is not None
            if node.is_folder:
                node.mtimes = set(node.later) if node.mtime_is_set else set()
            elif node.mtimes:
                node.mtimes |= node.later
            node.later = set(node.mtimes) if node.mtime_is_set else set()

    def _raise_dead(self) -> None:
        """Have the state of the moment at which the mount died."""
        self._bury()
        self._watched.trouble = None
        shutil.rmtree(self._state)
        self._saved_state.rename(self._state)
        self._watched.is_dead = False

    def _rise(self, before: Model) -> None:
        """Mount again after a kill inside a step: that was done or not, nothing else."""
        self._raise_dead()
        self._fds.clear()
        killed_at = self._now()
        self.clock.advance(self._lag_s)
        self._watched.trouble, self._again = self._again, None
        try:
            self._mount()
        except Killed:
            self._raise_dead()
            self.clock.advance(self._lag_s)
            self._mount()
        self._watched.trouble = None
        self.clock.advance(self._lag_s)
        pending = before.pending + self.model.pending
        pending += [(path, node.data, True) for node, path in before.overtaken().items()]
        problems = []
        for model in (before, self.model):
            self.model = model
            try:
                self._lose_opens(killed_at)
                self._begin_anew()
                kept = self.fs._files.pending.all()
                self.model.pending = [self._kept_as(one, pending) for one in kept]
                self._agree(self._touched, is_done=model is not before)
                return
            except AssertionError as error:
                problems.append(str(error))
        raise AssertionError(f"neither undone nor done: {problems}")
