"""Listings of large folders on a real mount: whole, and as they were when the folder was opened."""

from __future__ import annotations

import ctypes
import os
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cosfs.model import BytesSource, Metadata
from cosfs.server.database import Database
from cosfs.server.objects import Objects
from cosfs.store.json_store import JsonStore
from tests.mount.bench import Bench
from tests.mount.directly import opened

_libc = ctypes.CDLL(None, use_errno=True)
_SYS_GETDENTS64 = {"x86_64": 217, "aarch64": 61}[os.uname().machine]


def fill(bench: Bench, folder: str, names: list[str]) -> None:
    """Let the bucket hold files of these names, written beside the server while it is down."""
    with opened(bench.server) as bucket:
        first = f"{folder}/{names[0]}"
        JsonStore(bucket).write_file(f"/{first}", BytesSource(b"content"), metadata=Metadata())
    bench.server.stop()
    database = Database(bench.folder / "server" / "index.sqlite3")
    try:
        objects = Objects(database)
        file = objects.get("demo", first.encode())
        assert file is not None
        with database.transaction():
            for name in names[1:]:
                objects.put("demo", replace(file, key=f"{folder}/{name}".encode()))
    finally:
        database.close()
        bench.server.start()


class Reader:
    """Reads a folder piece by piece, as ``readdir`` of libc does with larger pieces."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self._buffer = ctypes.create_string_buffer(1024)

    def piece(self) -> list[tuple[str, int]]:
        """Return names and the places behind them; nothing at the end."""
        size = _libc.syscall(_SYS_GETDENTS64, self._fd, self._buffer, len(self._buffer))
        if size < 0:
            raise OSError(ctypes.get_errno(), "getdents64")
        found, at = [], 0
        while at < size:
            _inode, place, length, _kind = struct.unpack_from("<QqHB", self._buffer, at)
            name = self._buffer.raw[at + 19 : at + length].split(b"\0", 1)[0]
            found.append((os.fsdecode(name), place))
            at += length
        return found

    def seek(self, place: int) -> None:
        os.lseek(self._fd, place, os.SEEK_SET)

    def rest(self) -> list[str]:
        """Return all names from here to the end."""
        return [name for piece in iter(self.piece, []) for name, _ in piece]

    def close(self) -> None:
        os.close(self._fd)


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    reader = Reader(path)
    try:
        yield reader
    finally:
        reader.close()


def test_a_listing_stays_as_it_was_when_the_folder_was_opened(bench: Bench) -> None:
    names = [f"name-{number:05}" for number in range(3000)]
    fill(bench, "d", names)
    with bench.mounted() as mount:
        folder = mount.path / "d"
        there = {*names, ".", ".."}
        with reading(folder) as reader:
            seen = [name for name, _ in reader.piece()]
            places: dict[str, int] = {}
            for number, name in enumerate(names):
                # Right in front of the reader, behind it, and far ahead, in turn.
                if number % 100 == 0:
                    os.unlink(folder / name)
                elif number % 100 == 1:
                    os.rename(folder / name, folder / f"renamed-{number}")
                elif number % 100 == 2:
                    (folder / f"made-{number}").touch()
                elif number % 100 == 3:
                    os.rename(folder / name, folder / names[number - 1])
                if number % 40 == 0:
                    piece = reader.piece()
                    places |= dict(piece)
                    seen += [name for name, _ in piece]
            seen += reader.rest()
            assert Counter(seen) == Counter(there)
            gone = {name for number, name in enumerate(names) if number % 100 in (0, 1, 3)}
            came = {f"renamed-{number}" for number in range(1, 3000, 100)}
            came |= {f"made-{number}" for number in range(2, 3000, 100)}
            # A place in the listing can be come back to; its begin is a new listing.
            name = seen[1000]
            reader.seek(places[name])
            assert reader.rest() == seen[1001:]
            reader.seek(0)
            assert Counter(reader.rest()) == Counter(there - gone | came)


def test_a_rewound_folder_is_the_one_that_was_opened(bench: Bench) -> None:
    with bench.mounted() as mount:
        mount.sh("mkdir -p top/d; touch top/d/one")
        with reading(mount.path / "top/d") as reader:
            assert set(reader.rest()) == {".", "..", "one"}
            mount.sh("mv top new; mv new/d new/e; touch new/e/more; mkdir -p top/d; touch top/d/x")
            reader.seek(0)
            assert set(reader.rest()) == {".", "..", "one", "more"}
            mount.sh("rm -r new; mkdir -p new/e; touch new/e/other")
            reader.seek(0)
            with pytest.raises(FileNotFoundError):
                reader.rest()


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_hundred_thousand_names(bench: Bench) -> None:
    names = [f"name-{number:06}" for number in range(100_000)]
    fill(bench, "d", names)
    with bench.mounted() as mount:
        bench.server.reset_stats()
        with reading(mount.path / "d") as reader:
            seen = reader.rest()
        assert Counter(seen) == Counter([*names, ".", ".."])
        assert bench.requests("list") <= 102
        assert mount.sh("ls -l d | grep -c name-; find d -type f | wc -l") == "100000\n100000\n"
        assert mount.sh("rm d/name-05*; ls d | wc -l") == "90000\n"
