"""Workloads of whole programs on a store in memory, and what they may cost (design 9).

The least possible is written down with each; a store's call is a request but for large files.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from cosfs.errors import NotFound
from cosfs.store.memory import MemoryStore
from cosfs.vfs.filesystem import FileSystem
from tests.fakeclock import FakeClock
from tests.vfs.conftest import ME, MakeFs
from tests.vfs.programs import close, names, open_file, read_file, write_file

DATA = b"x" * 3000
MTIME = 1_500_000_000_000_000_000


def make_tree(fs: FileSystem, *, files: int = 20, folders: int = 10) -> None:
    """``cp -r`` of 200 files in 10 folders and their top."""
    fs.mkdir("/top", 0o755, ME)
    for d in range(folders):
        fs.mkdir(f"/top/d{d}", 0o755, ME)
        for n in range(files):
            write_file(fs, f"/top/d{d}/f{n}", b"%d %d " % (d, n) + DATA, os.O_EXCL)


def preserve(fs: FileSystem, path: str) -> None:
    fs.utimens(path, MTIME, MTIME)
    fs.chmod(path, 0o640)


def make_tree_preserving(fs: FileSystem) -> None:
    """``cp -rp``: times and modes of files before their close, those of folders at their end."""
    fs.mkdir("/top", 0o755, ME)
    for d in range(10):
        fs.mkdir(f"/top/d{d}", 0o755, ME)
        for n in range(20):
            path = f"/top/d{d}/f{n}"
            fh = open_file(fs, path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            fs.write(fh, 0, DATA)
            preserve(fs, path)
            close(fs, fh)
        preserve(fs, f"/top/d{d}")
    preserve(fs, "/top")
    fs._keeper.send_all()


def list_recursively(fs: FileSystem, folder: str) -> int:
    """``ls -lR``: every name listed and looked at; returns how many."""
    count = 0
    for name in names(fs, folder):
        path = f"{folder}/{name}"
        count += 1
        if fs.getattr(path).mode & 0o040000:
            count += list_recursively(fs, path)
    return count


def within(total: int, least: int) -> bool:
    """Tell whether a count is within 5 % or 3 requests of the least possible."""
    return total <= max(least * 1.05, least + 3)


@pytest.fixture(params=[199, 1000])
def store(request: pytest.FixtureRequest, clock: FakeClock) -> MemoryStore:
    return MemoryStore(clock=clock, page_size=request.param)


@pytest.fixture
def spent(store: MemoryStore) -> Callable[[], int]:
    """Return how many requests there were since the last time."""

    def count() -> int:
        total = store.requests.total()
        store.requests.clear()
        return total

    return count


def test_copying_listing_and_reading_a_tree(
    fs: FileSystem, make_fs: MakeFs, spent: Callable[[], int]
) -> None:
    names(fs, "/")
    spent()
    make_tree(fs)
    assert spent() == 211
    assert list_recursively(fs, "/top") == 210
    assert spent() == 0
    again = make_fs()
    names(again, "/")
    assert list_recursively(again, "/top") == 210
    assert within(spent(), 13)
    for d in range(10):
        for n in range(20):
            read_file(again, f"/top/d{d}/f{n}")
    assert spent() == 200
    for d in range(10):
        for n in range(20):
            read_file(again, f"/top/d{d}/f{n}")
    assert spent() == 0


def test_copying_with_attributes_and_listing_them(
    fs: FileSystem, make_fs: MakeFs, spent: Callable[[], int]
) -> None:
    names(fs, "/")
    spent()
    make_tree_preserving(fs)
    assert within(spent(), 233)
    again = make_fs()
    names(again, "/")
    assert list_recursively(again, "/top") == 210
    assert within(spent(), 224)
    assert again.getattr("/top/d3/f7").mtime_ns == MTIME
    assert list_recursively(again, "/top") == 210
    assert spent() == 0


def test_removing_a_tree_that_was_listed(
    fs: FileSystem, make_fs: MakeFs, spent: Callable[[], int]
) -> None:
    make_tree(fs)
    again = make_fs()
    names(again, "/")
    list_recursively(again, "/top")
    spent()
    for d in range(10):
        for n in range(20):
            again.unlink(f"/top/d{d}/f{n}")
        again.rmdir(f"/top/d{d}")
    again.rmdir("/top")
    assert spent() == 211


def test_appending_twenty_times(fs: FileSystem, make_fs: MakeFs, spent: Callable[[], int]) -> None:
    names(fs, "/")
    spent()
    write_file(fs, "/log", b"0\n")
    for _ in range(20):
        fh = open_file(fs, "/log", os.O_WRONLY | os.O_APPEND)
        fs.write(fh, fs.getattr("/log", fh).size, b"line\n")
        close(fs, fh)
    assert spent() == 21


@pytest.mark.parametrize(("age_s", "least"), [(0, 10), (10, 20)])
def test_renaming_ten_files(
    fs: FileSystem, clock: FakeClock, spent: Callable[[], int], age_s: float, least: int
) -> None:
    names(fs, "/")
    for n in range(10):
        write_file(fs, f"/a{n}", DATA)
    clock.advance(age_s)
    spent()
    for n in range(10):
        fs.rename(f"/a{n}", f"/b{n}")
    fs._keeper.send_all()
    assert within(spent(), least)


def test_renaming_a_folder_of_twenty_old_files(
    fs: FileSystem, clock: FakeClock, spent: Callable[[], int]
) -> None:
    fs.mkdir("/a", 0o755, ME)
    for n in range(20):
        write_file(fs, f"/a/{n}", DATA)
    names(fs, "/")
    clock.advance(10)
    spent()
    fs.rename("/a", "/b")
    fs._keeper.send_all()
    assert within(spent(), 43)


def test_a_missing_name_twenty_times(fs: FileSystem, spent: Callable[[], int]) -> None:
    for _ in range(20):
        with pytest.raises(NotFound):
            fs.getattr("/missing")
    assert spent() == 2


def test_rsync(fs: FileSystem, clock: FakeClock, spent: Callable[[], int]) -> None:
    # A temporary name, the content, its attributes, the rename: three requests a file.
    fs.mkdir("/d", 0o755, ME)
    names(fs, "/")
    spent()
    for n in range(200):
        draft, path = f"/d/.f{n}.Ab12Cd", f"/d/f{n}"
        fh = open_file(fs, draft, os.O_CREAT | os.O_EXCL | os.O_RDWR)
        fs.write(fh, 0, DATA)
        close(fs, fh)
        preserve(fs, draft)
        fs.rename(draft, path)
    fs._keeper.send_all()
    assert within(spent(), 600)
    for n in range(200):
        assert fs.getattr(f"/d/f{n}").mtime_ns == MTIME
    assert spent() == 0


def test_install(fs: FileSystem, spent: Callable[[], int]) -> None:
    names(fs, "/")
    write_file(fs, "/marks the root", b"")
    fs.chmod("/marks the root", 0o600)
    fs._keeper.send_all()
    spent()
    fh = open_file(fs, "/tool", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    fs.write(fh, 0, DATA)
    close(fs, fh)
    fs.chmod("/tool", 0o755)
    fs._keeper.send_all()
    assert spent() == 2


def test_names_by_themselves(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs, spent: Callable[[], int]
) -> None:
    fs.mkdir("/d", 0o755, ME)
    write_file(fs, "/f", DATA)
    write_file(fs, "/g", DATA)
    seen = make_fs()
    spent()
    seen.getattr("/f")
    assert spent() == 2
    seen.getattr("/g")  # the second unknown name of a folder lists it
    assert spent() == 1
    with pytest.raises(NotFound):
        seen.getattr("/h")
    assert spent() == 0
    seen.unlink("/f")
    assert spent() == 1
    seen.mkdir("/e", 0o755, ME)
    assert spent() == 1
    seen.symlink("/l", "target", ME)
    assert spent() == 2  # the first attributes in the root, hence its mark
    seen.symlink("/m", "target", ME)
    assert spent() == 1
    seen.rmdir("/e")
    assert spent() == 1
    seen.rmdir("/d")
    assert spent() == 2
    fh = open_file(seen, "/g", os.O_RDONLY)
    spent()
    seen.rename("/g", "/.fuse_hidden0000000100000001")
    close(seen, fh)
    assert spent() == 2


def test_overwriting(
    fs: FileSystem, make_fs: MakeFs, spent: Callable[[], int]
) -> None:
    write_file(fs, "/f", DATA)
    fs.setxattr("/f", "user.x-cos-meta-owner", b"me", create=False, replace=False)
    spent()
    write_file(fs, "/f", DATA)
    assert spent() == 1  # the memory store counts headers with the content
    seen = make_fs()
    names(seen, "/")
    spent()
    write_file(seen, "/f", DATA)
    assert spent() == 2
    seen.getxattr("/f", "user.x-cos-meta-owner")
    assert spent() == 0
