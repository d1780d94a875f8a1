"""A call has ended: lets the model agree with what it may have done, where it could not know."""

from __future__ import annotations

import copy
import errno
import stat
from collections.abc import Callable
from typing import TypeVar

from cosfs import paths
from tests.vfs.machine.allowed import Allowed, allow
from tests.vfs.machine.checks import Checks
from tests.vfs.machine.model import SECOND, Model, Node, Refused

T = TypeVar("T")


class Outcomes(Checks):
    """See the module's text."""

    def _both(
        self, of_kernel: Callable[[], T], of_model: Callable[[], object], *touched: str
    ) -> T | None:
        """Make a call of the kernel and of the model; both must end in the same way."""
        self._touched = touched
        with self._step() as step:
            before = copy.deepcopy(self.model) if self._watched.trouble is not None else None
            expected, wanted = 0, None
            try:
                wanted = of_model()
            except Refused as refused:
                expected = refused.number
            number, got = self._call(of_kernel)
            if number == expected:
                assert number or wanted is None or got == wanted, (got, wanted)
                return got
            assert step.is_excused(number), (
                f"{errno.errorcode.get(number)} instead of {errno.errorcode.get(expected)}"
            )
            assert before is not None
            if self.fs._journal.all("renames"):
                allow(Allowed.HALF_RENAME)
                self._before = before
                self._watched.kill()
            if not expected:
                self._choose(before, touched)
            for path in touched:
                node = self.model.find(path)
                if node is not None and node.dirty and not node.failed:
                    # Its content may have been tried to be stored first.
                    node.failed = None
            for number, at in self._fds.items():
                at.node.strayed = self._is_misnamed(self.model.opens[number], at)
            return None

    # -- calls that failed ---------------------------------------------------------------------

    def _choose(self, before: Model, touched: tuple[str, ...]) -> None:
        """A call failed: find out whether it has changed anything, and let all agree on that."""
        candidates = [before, self.model]
        if len(touched) == 2:
            candidates.append(self._without_target(before, touched[1]))
        problems = []
        for model in candidates:
            self.model = model
            trouble, self._watched.trouble = self._watched.trouble, None
            hits = list(self._watched.hits)
            try:
                self._agree(touched, is_done=model is not before)
                self._close_misnamed()
                allow(Allowed.DONE_UNANSWERED, model is not before)
                return
            except AssertionError as error:
                problems.append(str(error))
            finally:
                self._watched.trouble = trouble
                self._watched.hits[:] = hits
        raise AssertionError(f"neither undone nor done: {problems}")

    def _agree(self, touched: tuple[str, ...], *, is_done: bool) -> None:
        """Check that mount and store are as the model says, which takes attributes over."""
        self._check_store()
        for path in touched:
            # An open target may have gone and come back.
            parent = self.model.find(paths.parent(path))
            if parent is not None and path != paths.ROOT:
                parent.mtimes = set()
            if is_done:
                self._adopt_attributes(path)
            self._look(path)

    def _without_target(self, model: Model, path: str) -> Model:
        """Return how things are when the target of a rename was hidden and could not come back."""
        model = copy.deepcopy(model)
        node = model.find(path)
        if node is not None and node.opens:
            model.set(path, None)
            node.lose(path, node.removed_at)
            node.misplaced = True
        return model

    def _close_misnamed(self) -> None:
        """Close files of which libfuse does not know that they were moved."""
        for number, at in list(self._fds.items()):
            opened = self.model.opens[number]
            is_elsewhere = self._place(opened.node) != at.node.path
            if not at.node.hidden and not opened.node.overtaken and is_elsewhere:
                self._release(opened, at)

    def _truncate_failed(self, path: str, node: Node, length: int, now: int) -> None:
        """The file is as it was, or has its new length, which waits for the last close."""
        trouble, self._watched.trouble = self._watched.trouble, None
        assert trouble is not None
        if not node.opens:
            raw = self._held(path)
            shorter = node.data[:length].ljust(length, b"\0")
            assert raw in (node.data, shorter), (raw, node.data, shorter)
            node.data, node.stored = raw, [raw]
            if trouble.after:
                node.mtimes, node.later, node.mtime_is_set = set(), set(), False
        elif self.kernel.stat(path).size == length:
            was_so = len(node.data) == length
            if was_so and not self.fs._files.is_dirty_at(path):
                return
            self.model.truncate(node, length, now)
            if was_so:
                # It may be either way.
                node.mtimes = set()
            node.failed = None

    def _adopt_attributes(self, path: str, *, from_store: bool = False) -> None:
        """What was done though nobody said so has content and names, but who knows when."""
        for at, node in self.model.all(path).items():
            node.mtimes, node.later, node.mtime_is_set = set(), set(), False
            if from_store:
                node.mode, node.uid, node.gid, node.xattrs, _ = self._stored_attributes(at, node)
                continue
            number, attrs = self._call(lambda: self.kernel.stat(at))  # noqa: B023 - at once
            assert attrs is not None, (at, number)
            node.mode, node.uid, node.gid = stat.S_IMODE(attrs.mode), attrs.uid, attrs.gid
            if node.is_folder:
                node.xattrs = self._xattrs_of(at)

    # -- content -------------------------------------------------------------------------------

    def _end_step(self, before: dict[str, Node]) -> None:
        self.model.expire(self._now())
        self._note_stores(before)
        self._note_made()
        self._check_store()
        self._check_pending()
        assert self._behind is None or not self._behind.refused(), self._behind.refused()

    def _note_stores(self, before: dict[str, Node]) -> None:
        """Believe what was seen to be stored; ``before``: what was where when the step began."""
        now = {node: path for path, node in self.model.all().items()}
        for path in self._written_paths():
            for node in {before.get(path), self.model.find(path)} - {None}:
                assert node is not None
                if node.kind == "file":
                    self.model.supersede(path)
                    self.model.supersede(now.get(node, path))
                if node in now and not node.overtaken and self._held(now[node]) == node.data:
                    self._is_stored(node)
                    if not node.mtime_is_set:
                        node.later |= self._seconds()
        for node, path in self.model.overtaken().items():
            if path in self._written_paths() | self._lost_paths():
                if node.dirty and self._held(path) == node.data:
                    self._wins(node, path)

    def _note_made(self) -> None:
        """The next mount may show when a waiting change was made."""
        if self._behind is None or not self._watched.done:
            return
        for node in self.model.all().values():
            if node.mtime_is_set:
                continue
            if not node.is_folder:
                node.later |= self._seconds()
            node.made |= self._seconds()

    def _wins(self, node: Node, path: str) -> None:
        """A file is stored over what somebody else has made of its name."""
        views = self.model.earlier.get(path, [])
        is_young = any(one.node is node and self._now() < one.until for one in views)
        theirs = self.model.find(path)
        # Content that is the same is the same version.
        is_lost = theirs is not None and [theirs.data] != node.stored[:1]
        may_win = allow(Allowed.LAST_WRITER, is_lost and (is_young or node.is_blind))
        assert may_win or not is_lost, f"{path}: a foreign version is lost"
        self.model.earlier.pop(path, None)
        if theirs is None:
            # The kernel may remember that there was no such name.
            self.model.note_earlier(path, None, self._kernel_knows_until())
        self.model.set(path, node)
        node.overtaken = False
        if path in self._written_paths():
            self._is_stored(node)
        else:
            node.stored = [node.data]
        self._adopt_attributes(path, from_store=True)

    def _kernel_knows_until(self) -> int:
        allow(Allowed.KERNEL_MEMORY)
        return self._now() + int(self.fs.kernel_ttl_s * SECOND)

    def _is_stored(self, node: Node) -> None:
        """From now the store must hold the content as it is."""
        node.stored = [node.data]
        node.dirty = node.failed = node.exclusive = node.is_blind = False
        for opened in self._opens_of(node):
            opened.wrote = False

    def _is_won(self, path: str, node: Node) -> bool:
        """Tell whether O_EXCL is refused because an attempt that had no answer has won."""
        return allow(Allowed.LATE_EXCLUSIVE, node.exclusive and self._held(path) is not None)

    def _give_up(self, path: str, node: Node) -> None:
        """The content could not be stored: it is kept."""
        is_conflict = any(
            kept.is_conflict for kept in self.fs._files.pending.all() if kept.path == path
        )
        self.model.pending.append((path, node.data, is_conflict))
        allow(Allowed.UNSTORED)

    def _revert(self, path: str, node: Node) -> None:
        """The content is given up: what the store holds is true."""
        held = self._held(path)
        assert held in node.stored, f"{path}: {held!r} is stored instead of {node.stored}"
        if held is None:
            self.model.set(path, None)
            return
        if node.dirty:
            node.data, node.dirty, node.failed = held, False, False
            node.mtimes, node.later, node.mtime_is_set = set(), set(), False
        node.stored, node.is_blind = [held], False

    def _find_again(self) -> None:
        """Files that have no name for a while have it back if the store says so."""
        nameless = [node for node in self._nameless if node.removed]
        nameless += [node for node in self._removed() if node.misplaced]
        for node in nameless:
            held = self._held(node.name)
            if held is None or held not in node.stored or self.model.find(node.name):
                continue
            found = self._attributes_at(node)
            # What was changed while it had no name may be lost, but nothing of before.
            if found in (node.attributes_then, (node.mode, node.uid, node.gid)):
                allow(Allowed.NAME_BACK)
                self.model.set(node.name, node)
                node.removed, node.misplaced, node.data = False, False, held
                node.dirty, node.failed, node.stored = False, False, [held]
                node.mode, node.uid, node.gid = found
                node.mtimes, node.later, node.mtime_is_set = set(), set(), False

    def _attributes_at(self, node: Node) -> tuple[int, int, int]:
        """Return mode, owner and group at the name that a file had, sent or not."""
        mode, uid, gid, *_ = self._stored_attributes(node.name, node)
        unsent = self.fs._keeper.unsent(node.name)
        return (
            mode if unsent.mode is None else stat.S_IMODE(unsent.mode),
            uid if unsent.uid is None else unsent.uid,
            gid if unsent.gid is None else unsent.gid,
        )
