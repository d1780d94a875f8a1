"""A program that does random things to the bytes of one file and knows what must come of it.

In the manner of fsx: reads and writes, mapped and not, through several descriptors, truncating,
appending, copying, syncing, reopening. What the file must hold stands in a second, local file, so
that a later run goes on where this one ended. Run as a process of its own: a page fault would stop
the interpreter that serves it.
"""

from __future__ import annotations

import mmap
import os
import random
import sys
from collections import deque
from pathlib import Path

#: How often each is done, relative to the others.
WEIGHTS = {
    "read": 30, "write": 25, "append": 5, "read_mapped": 10, "write_mapped": 10,
    "truncate": 8, "copy": 5, "check_size": 5, "sync": 1, "reopen": 1,
}  # fmt: skip

DESCRIPTORS = 3
LAST_SHOWN = 30


class Wrong(AssertionError):
    """The file does not hold what it must."""


class Descriptor:
    """One descriptor of the file, with a mapping that is made when it is first needed."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR)
        self._map: mmap.mmap | None = None

    def mapped(self, end: int) -> mmap.mmap:
        """Return a mapping that reaches to ``end``, a place inside the file."""
        if self._map is None or len(self._map) < end:
            self._unmap()
            self._map = mmap.mmap(self.fd, end)
        return self._map

    def close(self) -> None:
        os.close(self.fd)
        self._unmap()

    def _unmap(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None


class Exerciser:
    def __init__(self, path: str, wanted: bytes, largest: int, rng: random.Random) -> None:
        self._path = path
        self._bytes = bytearray(wanted)
        self._largest = largest
        self._rng = rng
        self.last: deque[str] = deque(maxlen=LAST_SHOWN)
        self._descriptors: list[Descriptor] = []
        self._open()
        self.check_whole()

    @property
    def wanted(self) -> bytes:
        return bytes(self._bytes)

    def step(self) -> None:
        (kind,) = self._rng.choices(list(WEIGHTS), list(WEIGHTS.values()))
        if kind in ("read_mapped", "write_mapped", "copy") and len(self._bytes) < 2:
            kind = "write"
        getattr(self, f"_{kind}")(self._rng.choice(self._descriptors))

    def check_whole(self) -> None:
        with open(self._path, "rb") as file:
            self._compare(0, file.read(), len(self._bytes))

    def close(self) -> None:
        for descriptor in self._descriptors:
            descriptor.close()
        self._descriptors = []

    # -- steps -------------------------------------------------------------------------------

    def _read(self, one: Descriptor) -> None:
        at, size = self._range(len(self._bytes) + 1000)
        self._note("read", at, size)
        self._compare(at, os.pread(one.fd, size, at), size)

    def _write(self, one: Descriptor) -> None:
        at, size = self._range(self._largest)
        self._note("write", at, size)
        data = self._rng.randbytes(size)
        assert os.pwrite(one.fd, data, at) == size
        self._put(at, data)

    def _append(self, one: Descriptor) -> None:
        size = min(self._rng.randrange(5000), self._largest - len(self._bytes))
        self._note("append", len(self._bytes), size)
        data = self._rng.randbytes(size)
        os.lseek(one.fd, 0, os.SEEK_END)
        assert os.write(one.fd, data) == size
        self._put(len(self._bytes), data)

    def _read_mapped(self, one: Descriptor) -> None:
        at, size = self._range(len(self._bytes))
        self._note("read_mapped", at, size)
        self._compare(at, one.mapped(at + size)[at : at + size], size)

    def _write_mapped(self, one: Descriptor) -> None:
        at, size = self._range(len(self._bytes))
        self._note("write_mapped", at, size)
        data = self._rng.randbytes(size)
        one.mapped(at + size)[at : at + size] = data
        self._put(at, data)

    def _truncate(self, one: Descriptor) -> None:
        # Mostly a little: a file that is always short tests little.
        near = max(0, len(self._bytes) - self._rng.randrange(20_000))
        length = self._rng.choice([near, self._rng.randrange(self._largest)])
        self._note("truncate", length, 0)
        os.ftruncate(one.fd, length)
        del self._bytes[length:]
        self._bytes.extend(bytes(length - len(self._bytes)))

    def _copy(self, one: Descriptor) -> None:
        half = len(self._bytes) // 2
        size = self._rng.randrange(1, half + 1)
        source = self._rng.randrange(half - size + 1)
        target = half + self._rng.randrange(half - size + 1)
        if self._rng.random() < 0.5:
            source, target = target, source
        self._note("copy", source, size, target)
        other = self._rng.choice(self._descriptors)
        done = 0
        while done < size:
            count = os.copy_file_range(
                one.fd, other.fd, size - done, source + done, target + done
            )
            assert count
            done += count
        self._put(target, bytes(self._bytes[source : source + size]))

    def _check_size(self, one: Descriptor) -> None:
        self._note("check_size", 0, 0)
        sizes = os.fstat(one.fd).st_size, os.stat(self._path).st_size
        if sizes != (len(self._bytes),) * 2:
            raise Wrong(f"sizes are {sizes}, not {len(self._bytes)}")

    def _sync(self, one: Descriptor) -> None:
        self._note("sync", 0, 0)
        os.fsync(one.fd)

    def _reopen(self, _one: Descriptor) -> None:
        self._note("reopen", 0, 0)
        self.close()
        if self._rng.random() < 0.3:
            self.check_whole()
        self._open()

    # -- inside ------------------------------------------------------------------------------

    def _open(self) -> None:
        self._descriptors = [Descriptor(self._path) for _ in range(DESCRIPTORS)]

    def _range(self, end: int) -> tuple[int, int]:
        at = self._rng.randrange(end)
        longest = self._rng.choice([10, 5_000, 200_000])
        return at, self._rng.randrange(1, min(longest, end - at) + 1)

    def _put(self, at: int, data: bytes) -> None:
        self._bytes.extend(bytes(max(0, at - len(self._bytes))))
        self._bytes[at : at + len(data)] = data

    def _compare(self, at: int, found: bytes, size: int) -> None:
        wanted = self._bytes[at : at + size]
        if found == wanted:
            return
        both = min(len(found), len(wanted))
        differ = [at + i for i in range(both) if found[i] != wanted[i]]
        raise Wrong(
            f"from {at}: {len(found)} bytes instead of {len(wanted)}; {len(differ)} differ,"
            f" the first at {differ[:1]}, the last at {differ[-1:]}"
        )

    def _note(self, *step: object) -> None:
        self.last.append(" ".join(map(str, step)))


def main(path: str, model: str, largest: int, steps: int, seed: int) -> None:
    exerciser = Exerciser(path, Path(model).read_bytes(), largest, random.Random(seed))
    done = 0
    try:
        while done < steps:
            exerciser.step()
            done += 1
        exerciser.check_whole()
    except BaseException:
        print(f"seed {seed}, step {done} of {steps}; the last ones:", *exerciser.last, sep="\n")
        raise
    exerciser.close()
    Path(model).write_bytes(exerciser.wanted)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
