"""Owns failures on demand: wraps any store and goes wrong by a plan; must not know what is inside.

A test says what goes wrong by method and occurrence, or by chance with a seed; whether before the
change (it was not done) or after it (it was done, the answer is lost); and holds calls back by a
gate, never by sleeping.
"""

from __future__ import annotations

import enum
import random
import threading
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import TypeVar

from cosfs import paths
from cosfs.errors import TruncatedBody
from cosfs.model import Base, Entry, ListPage, Metadata, Scope, Source, Version
from cosfs.store.base import Store, ignore

T = TypeVar("T")

_NOTHING = Metadata()


class Body(enum.Enum):
    """What happens to bytes on their way to the reader."""

    #: Half of them arrive, and the store notices.
    TRUNCATED = "truncated"
    #: All arrive, one is wrong, and the store does not notice.
    WRONG = "wrong"


class Gate:
    """Holds a call back until a test opens it.

    ``arrived`` is set when the first call stands at the gate; ``open`` lets all through.
    """

    def __init__(self, patience_s: float = 30.0) -> None:
        self.arrived = threading.Event()
        self._opened = threading.Event()
        self._patience_s = patience_s

    def open(self) -> None:
        self._opened.set()

    def hold(self) -> None:
        """Wait for ``open``; a test that forgets it gets an error instead of hanging."""
        self.arrived.set()
        if not self._opened.wait(self._patience_s):
            raise RuntimeError("nobody opened the gate")


@dataclass(eq=False)
class Fault:
    """One thing that goes wrong.

    It concerns the calls of ``method`` (any if empty) on ``path`` (any if empty; of a move, either
    name). Of these it hits those counted from 1 in ``on`` (all if ``None``), each with
    ``probability``. A hit call waits at ``gate``, then raises what ``error`` makes, ``after`` the
    change was made or before it; ``body`` spoils what is read.
    """

    method: str = ""
    path: str = ""
    on: Container[int] | None = None
    probability: float = 1.0
    error: Callable[[], Exception] | None = None
    after: bool = False
    gate: Gate | None = None
    body: Body | None = None
    #: How many calls it concerned so far.
    seen: int = field(default=0, init=False)

    def concerns(self, method: str, touched: tuple[str, ...]) -> bool:
        return self.method in ("", method) and (not self.path or self.path in touched)


class FaultPlan:
    """The faults of a store. May be changed while it is used; ``seed`` makes chance repeatable."""

    def __init__(self, *faults: Fault, seed: int = 0) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._faults = list(faults)
        #: (method, path) of every call that was hit.
        self.hits: list[tuple[str, str]] = []

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def faults_of(self, method: str, touched: tuple[str, ...]) -> list[Fault]:
        """Return the faults that hit this call, and count it."""
        hit = []
        with self._lock:
            for fault in self._faults:
                if not fault.concerns(method, touched):
                    continue
                fault.seen += 1
                if fault.on is not None and fault.seen not in fault.on:
                    continue
                if fault.probability < 1 and self._random.random() >= fault.probability:
                    continue
                hit.append(fault)
                self.hits.append((method, touched[0]))
        return hit


class FaultyStore:
    """A store that does what ``inner`` does, but for the faults of ``plan``.

    Checks that send nothing, and ``close``, never fail by plan. Thread safety: that of ``inner``.
    """

    def __init__(self, inner: Store, plan: FaultPlan) -> None:
        self._inner = inner
        self.plan = plan

    def probe(self) -> None:
        self._run("probe", self._inner.probe, paths.ROOT)

    def check_path(self, path: str) -> None:
        self._inner.check_path(path)

    def check_folder(self, path: str) -> None:
        self._inner.check_folder(path)

    def stat_file(self, path: str) -> Entry:
        return self._run("stat_file", lambda: self._inner.stat_file(path), path)

    def stat_folder(self, path: str) -> Entry:
        return self._run("stat_folder", lambda: self._inner.stat_folder(path), path)

    def stat_mark(self, folder: str) -> Metadata:
        return self._run("stat_mark", lambda: self._inner.stat_mark(folder), folder)

    def mark_folder(
        self, folder: str, holding: Metadata = _NOTHING, *, base: Base | None = None
    ) -> bool:
        return self._run(
            "mark_folder",
            lambda: self._inner.mark_folder(folder, holding, base=base),
            folder,
        )

    def list_page(self, folder: str, *, prefix: str = "", cursor: str = "") -> ListPage:
        return self._run(
            "list_page",
            lambda: self._inner.list_page(folder, prefix=prefix, cursor=cursor),
            folder,
        )

    def read_range(self, path: str, offset: int, into: memoryview, version: Version) -> None:
        def read(faults: list[Fault]) -> None:
            spoilt = [fault.body for fault in faults if fault.body is not None]
            if Body.TRUNCATED in spoilt:
                half = len(into) // 2
                self._inner.read_range(path, offset, into[:half], version)
                raise TruncatedBody(f"the body ended after {half} bytes", path=path)
            self._inner.read_range(path, offset, into, version)
            if Body.WRONG in spoilt and len(into):
                into[len(into) // 2] ^= 0xFF

        self._run_with("read_range", read, path)

    def write_file(
        self,
        path: str,
        source: Source,
        *,
        metadata: Metadata,
        create_only: bool = False,
        nonce: str = "",
        staging: Callable[[str], None] = ignore,
        base: Base | None = None,
    ) -> Entry:
        return self._run(
            "write_file",
            lambda: self._inner.write_file(
                path,
                source,
                metadata=metadata,
                create_only=create_only,
                nonce=nonce,
                staging=staging,
                base=base,
            ),
            path,
        )

    def move_file(
        self, old: str, new: str, *, overwrite: bool, base: Base | None = None
    ) -> None:
        self._run(
            "move_file",
            lambda: self._inner.move_file(old, new, overwrite=overwrite, base=base),
            old,
            new,
        )

    def delete_file(self, path: str, *, base: Base | None = None) -> None:
        self._run("delete_file", lambda: self._inner.delete_file(path, base=base), path)

    def make_folder(
        self, path: str, *, biz_attr: bytes = b"", base: Base | None = None
    ) -> Entry:
        return self._run(
            "make_folder",
            lambda: self._inner.make_folder(path, biz_attr=biz_attr, base=base),
            path,
        )

    def delete_folder(
        self, path: str, *, marked: bool, holding: Metadata = _NOTHING
    ) -> None:
        self._run(
            "delete_folder",
            lambda: self._inner.delete_folder(path, marked=marked, holding=holding),
            path,
        )

    def set_metadata(self, path: str, entry: Entry, metadata: Metadata) -> None:
        self._run("set_metadata", lambda: self._inner.set_metadata(path, entry, metadata), path)

    def check_property(self, path: str, name: str, value: bytes) -> None:
        self._inner.check_property(path, name, value)

    def settle(self, path: str, scope: Scope = Scope.NAME) -> None:
        self._run("settle", lambda: self._inner.settle(path, scope), path)

    def takes_at_once(self, size: int) -> bool:
        return self._inner.takes_at_once(size)

    def close(self) -> None:
        self._inner.close()

    def _run(self, method: str, call: Callable[[], T], *touched: str) -> T:
        return self._run_with(method, lambda _faults: call(), *touched)

    def _run_with(self, method: str, call: Callable[[list[Fault]], T], *touched: str) -> T:
        faults = self.plan.faults_of(method, touched)
        for fault in faults:
            if fault.gate is not None and not fault.after:
                fault.gate.hold()
        for fault in faults:
            if fault.error is not None and not fault.after:
                raise fault.error()
        result = call(faults)
        for fault in faults:
            if fault.gate is not None and fault.after:
                fault.gate.hold()
        for fault in faults:
            if fault.error is not None and fault.after:
                raise fault.error()
        return result
