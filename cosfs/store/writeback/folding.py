"""Owns what becomes of a change when others of the same name wait; must not know the server.

A change that was not begun may be folded with a later one, so that a file that is rewritten is sent
once, one that is removed never, and one that gets its name at the end under that name alone. What
was begun is left as it is: it may have been made. What the server has refused was not made.

Every method changes the journal first, and the queue and the view after it: an error (``NoSpace``,
``SpoolFailed``) leaves all as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from cosfs.model import Base, Entry, Metadata, names_folder
from cosfs.store import spelling
from cosfs.store.writeback.journal import Journal
from cosfs.store.writeback.operation import Kind, Operation, State
from cosfs.store.writeback.queue import Queue
from cosfs.store.writeback.view import View


class Folding:
    """Takes changes into the queue. Thread safety: none; its user has a lock."""

    def __init__(
        self, queue: Queue, view: View, journal: Journal, drop_content: Callable[[str], None]
    ) -> None:
        self._queue = queue
        self._view = view
        self._journal = journal
        self._drop_content = drop_content

    def accept(self, operation: Operation) -> None:
        """Take a change into the queue; it is in the journal when this returns."""
        if operation.kind is Kind.WRITE:
            self._write(operation)
        elif operation.kind is Kind.MOVE:
            self._move(operation)
        elif operation.kind is Kind.DELETE:
            self._delete(operation)
        elif operation.kind is Kind.SET:
            self._set(operation)
        elif operation.kind is Kind.REMOVE:
            self._remove(operation)
        else:
            self._exchange([], [operation])

    def append(self, operation: Operation) -> None:
        """Take a change in behind all others of its names, and fold it with none."""
        self._exchange([], [operation])

    def refuse(self, operation: Operation) -> list[Operation]:
        """Keep a write that the server refused; what waited for it is taken in anew.

        Returns what that was.
        """
        # As it stands there: this fails where the disk is full, with nothing changed.
        self._journal.put(operation)
        later = self.all_later(operation)
        with self._journal.together():
            for one in reversed(later):
                self._journal.drop(one)
                self._queue.remove(one)
                one.state = State.WAITING
            self._queue.refuse(operation)
            self._journal.put(operation)
            self._view.rebuild()
            for one in later:
                self.accept(one)
        return later

    def all_later(self, operation: Operation) -> list[Operation]:
        """Return everything that waits for an operation, and for that, in its order."""
        found: dict[int, Operation] = {}
        stack = list(operation.awaited_by)
        while stack:
            one = stack.pop()
            if one.seq not in found:
                found[one.seq] = one
                stack.extend(one.awaited_by)
        return [found[seq] for seq in sorted(found)]

    def forget(self, operation: Operation) -> None:
        """Drop a write that the server refused, and its content, for good."""
        self._exchange([operation], [])

    # -- kinds -------------------------------------------------------------------------------

    def _write(self, operation: Operation) -> None:
        last = self._queue.last(operation.path)
        if last is not None and last.kind is Kind.WRITE and last.is_open_to_change:
            self._rewrite(last, operation)
        elif last is not None and last.kind is Kind.DELETE and last.is_open_to_change:
            # The server has what was to be deleted: it is replaced instead. Who makes a name that
            # nobody else may make replaces nothing but that.
            known = last.base if last.base is not None and last.base.entry is not None else None
            if known is not None:
                known = replace(known, is_needed=operation.exclusive)
            operation.base, operation.exclusive = known, False
            self._exchange([last], [operation])
        else:
            self._exchange([], [operation])

    def _rewrite(self, first: Operation, second: Operation) -> None:
        """Let the content of ``second`` go in place of that of ``first``, which expects more."""
        is_needed = second.base is not None and second.base.is_needed
        base = first.base
        if base is not None and not is_needed:
            base = replace(base, is_needed=False)
        self._change(
            first,
            base=base,
            entry=second.entry,
            metadata=second.metadata,
            content=second.content,
        )
        second.state, second.successor = State.GONE, first
        self._revive(first, second)
        self._view.apply(first)

    def _move(self, operation: Operation) -> None:
        old, new = operation.path, operation.new
        moved, target = self._queue.last(old), self._queue.last(new)
        is_replaced = (
            target is not None and target.kind is Kind.WRITE and target.is_open_to_change
        )
        gone = [target] if target is not None and is_replaced else []
        if moved is None or moved.kind is not Kind.WRITE or not moved.is_open_to_change:
            # The rename replaces what would have been stored there.
            refused = [one for one in gone if one.state is State.FAILED]
            self._exchange(refused, [operation])
            return
        written = replace(
            moved,
            path=new,
            exclusive=operation.exclusive,
            base=None,
            state=State.WAITING,
            refusal="",
            is_conflict=False,
            error=None,
            waits_for=set(),
            awaited_by=set(),
        )
        if gone and gone[0].base is not None:
            written.base = replace(gone[0].base, is_needed=False)
        moved.successor = operation.successor = written
        coming = [written]
        if self._may_be_stored(moved):
            coming.append(
                Operation(
                    Kind.DELETE,
                    old,
                    base=moved.base,
                    since=operation.since,
                    due=operation.due,
                    is_pressed=operation.is_pressed,
                )
            )
        self._exchange([moved, *gone], coming)
        operation.state = State.GONE

    def _delete(self, operation: Operation) -> None:
        last = self._queue.last(operation.path)
        if last is None or last.kind is not Kind.WRITE or not last.is_open_to_change:
            self._exchange([], [operation])
            return
        if self._may_be_stored(last):
            # What was written is not sent: what it was to replace is what will be there.
            operation.base = last.base
            self._exchange([last], [operation])
        else:
            self._exchange([last], [])
            operation.state = State.GONE

    def _may_be_stored(self, write: Operation) -> bool:
        """Tell whether the server will have something at the path of a write that is not sent."""
        if write.is_conflict:
            # What it has is somebody else's.
            return False
        before = [one for one in self._queue.at(write.path) if one is not write]
        if not before:
            return not write.is_new
        last = before[-1]
        return last.kind is not Kind.DELETE and not (
            last.kind is Kind.MOVE and last.path == write.path
        )

    def _set(self, operation: Operation) -> None:
        assert operation.entry is not None
        last = self._queue.last(operation.path)
        if last is None or not last.is_open_to_change:
            self._exchange([], [operation])
        elif operation.entry.is_folder:
            self._set_folder(last, operation)
        elif last.kind is Kind.WRITE and last.entry is not None:
            held = spelling.held(operation.path, operation.metadata)
            entry = replace(last.entry, metadata=held)
            self._change(last, metadata=operation.metadata, entry=entry)
            operation.state, operation.successor = State.GONE, last
            self._view.set_file(last)
        elif last.kind is Kind.SET and not names_folder(last.entry):
            self._change(last, metadata=operation.metadata)
            operation.state, operation.successor = State.GONE, last
            self._view.set_file(last)
        else:
            self._exchange([], [operation])

    def _set_folder(self, last: Operation, operation: Operation) -> None:
        assert operation.entry is not None
        known = operation.entry.metadata
        if known is None or last.kind not in (Kind.MARK, Kind.SET):
            self._exchange([], [operation])
            return
        own, rest = spelling.split(operation.metadata)
        own_known, rest_known = spelling.split(known)
        knows_mark = rest_known == spelling.split(last.metadata)[1]
        if last.kind is Kind.MARK and knows_mark and own_known == own:
            self._change(last, metadata=rest)
        elif (
            last.kind is Kind.SET
            and knows_mark
            and last.entry is not None
            and last.entry.is_folder
            # Together they would change nothing, and the first of them makes the mark.
            and spelling.split(last.entry.metadata or Metadata())[1] != rest
        ):
            # What this one leaves as it knows it stays as the one before has set it.
            kept = spelling.split(last.metadata)[0] if own == own_known else own
            properties = {**rest.properties, **kept.properties}
            self._change(last, metadata=replace(operation.metadata, properties=properties))
        else:
            self._exchange([], [operation])
            return
        operation.state, operation.successor = State.GONE, last
        self._view.set_folder(operation)

    def _remove(self, operation: Operation) -> None:
        touching = list(self._queue.at(operation.path))
        is_never_made = (
            bool(touching)
            and touching[0].kind is Kind.MAKE
            and touching[0].is_new
            and all(one.is_open_to_change and _is_of_folder(one) for one in touching)
            and not {later for one in touching for later in one.awaited_by} - set(touching)
        )
        if is_never_made:
            self._exchange(touching, [])
            operation.state = State.GONE
        else:
            self._exchange([], [operation])

    # -- inside ------------------------------------------------------------------------------

    def _exchange(self, gone: Sequence[Operation], coming: Sequence[Operation]) -> None:
        """Take ``gone`` out, and put ``coming`` at the end."""
        for one in coming:
            self._queue.number(one)
        if len(gone) + len(coming) > 1:
            with self._journal.together():
                self._write_down(gone, coming)
        else:
            self._write_down(gone, coming)
        kept = {one.content for one in coming}
        for one in reversed(gone):
            self._queue.remove(one)
            self._view.undo(one)
            if one.content not in kept:
                self._drop_content(one.content)
        for one in coming:
            self._queue.add(one)
            self._view.apply(one)

    def _write_down(self, gone: Sequence[Operation], coming: Sequence[Operation]) -> None:
        for one in coming:
            self._journal.put(one)
        for one in gone:
            self._journal.drop(one)

    def _change(
        self,
        operation: Operation,
        *,
        metadata: Metadata,
        entry: Entry | None = None,
        content: str = "",
        base: Base | None = None,
    ) -> None:
        """Change an operation at its place."""
        before = operation.metadata, operation.entry, operation.content, operation.base
        old_size, old_content = operation.size, operation.content
        operation.metadata = metadata
        if entry is not None:
            operation.entry = entry
        if content:
            operation.content, operation.base = content, base
        try:
            self._journal.put(operation)
        except BaseException:
            (operation.metadata, operation.entry, operation.content, operation.base) = before
            raise
        self._queue.resize(operation, operation.size - old_size)
        if content:
            self._drop_content(old_content)

    def _revive(self, first: Operation, second: Operation) -> None:
        """Let a refused write be tried again, as its content is another."""
        if first.state is State.FAILED:
            first.refusal, first.is_conflict, first.error = "", False, None
            self._queue.again(first, second.due)


def _is_of_folder(operation: Operation) -> bool:
    return operation.kind in (Kind.MAKE, Kind.MARK) or (
        operation.kind is Kind.SET and names_folder(operation.entry)
    )
