"""Owns renames over open files while they are half done; must not know what is moved where.

libfuse makes two calls of one: the open file that is to be replaced gets a name that is made up,
then the other file gets its place. The first call alone is how a removal looks, too. So a name that
was taken away is in doubt until the same caller goes on, somebody asks for it, or time passes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from cosfs import interrupts, paths
from cosfs.clock import Clock
from cosfs.vfs.openfile import OpenFile

#: The second half follows the first within this time, in seconds.
_SURE_S: Final = 0.5

#: How long, in seconds, whoever asks for a name in doubt is kept waiting: by then the second half
#: has begun, or the file was removed.
_HALF_S: Final = 0.02


class Halves:
    """See the module's text. Thread safety: any method from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._settled = threading.Condition()
        #: By the name that it had, the oldest first: the file, who took its name, and when.
        self._hidden: dict[str, tuple[OpenFile, int, float]] = {}
        #: Names that a second half is giving to another file: who does that, and who had it.
        self._replacing: dict[str, tuple[int, OpenFile]] = {}

    def begin(self, path: str, file: OpenFile) -> OpenFile | None:
        """Note that ``file`` has lost ``path``; return one of before that surely was removed."""
        with self._settled:
            before = self._hidden.pop(path, None)
            self._hidden[path] = file, interrupts.asker(), self._clock.monotonic()
        return None if before is None else before[0]

    def go_on(self, path: str) -> tuple[OpenFile | None, bool]:
        """Return the file that has lost ``path``, and whether it is replaced by this call.

        If it is, the caller must say ``end``.
        """
        with self._settled:
            file, asker, when = self._hidden.pop(path, (None, 0, 0.0))
            is_recent = self._clock.monotonic() - when < _SURE_S
            if file is None or not is_recent or asker != interrupts.asker():
                return file, False
            self._replacing[path] = asker, file
            return file, True

    def end(self, path: str) -> None:
        """Note that ``path`` has another file, or its old one again: whoever waits may look."""
        with self._settled:
            self._replacing.pop(path, None)
            self._settled.notify_all()

    def ask(self, path: str) -> OpenFile | None:
        """Wait until ``path`` is not in doubt; return a file of that name that was removed."""
        if not self._hidden and not self._replacing:
            return None
        with self._settled:
            self._await(lambda other: other == path)
            return self._hidden.pop(path, (None, 0, 0.0))[0]

    def ask_in(self, folder: str) -> None:
        """Wait until no name in ``folder`` is in doubt."""
        if self._hidden or self._replacing:
            with self._settled:
                self._await(lambda path: paths.parent(path) == folder)

    def await_end(self, file: OpenFile) -> None:
        """Wait while ``file`` is being replaced: it may have its name again then."""
        me = interrupts.asker()

        def is_replaced() -> bool:
            return any(one is file and asker != me for asker, one in self._replacing.values())

        if self._replacing:
            with self._settled:
                self._settled.wait_for(lambda: not is_replaced())

    def forget(self, file: OpenFile) -> None:
        """Have no doubt about ``file`` any more."""
        with self._settled:
            for path in [path for path, one in self._hidden.items() if one[0] is file]:
                del self._hidden[path]

    def settle(self, *, all_of_them: bool = False) -> list[OpenFile]:
        """Return, once, the files that surely were removed, as the time of doubt has passed."""
        if not self._hidden:
            return []
        now = self._clock.monotonic()
        with self._settled:
            sure = [
                (path, file)
                for path, (file, _, when) in self._hidden.items()
                if all_of_them or now - when >= _SURE_S
            ]
            for path, _ in sure:
                del self._hidden[path]
        return [file for _, file in sure]

    def _await(self, concerns: Callable[[str], bool]) -> None:
        me = interrupts.asker()

        def is_in_doubt() -> bool:
            askers = [(path, asker) for path, (_, asker, _) in self._hidden.items()]
            return any(asker != me and concerns(path) for path, asker in askers)

        def is_replacing() -> bool:
            several = self._replacing.items()
            return any(asker != me and concerns(path) for path, (asker, _) in several)

        self._settled.wait_for(lambda: not is_in_doubt() or is_replacing(), _HALF_S)
        self._settled.wait_for(lambda: not is_replacing())
