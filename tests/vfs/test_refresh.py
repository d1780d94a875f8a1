"""Seeing at once what others have changed, whatever the TTL; and what is shown of the whole."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from cosfs.config import CacheOptions
from cosfs.errors import NoSuchAttribute, NotFound
from cosfs.model import BytesSource, Entry, Kind, Metadata
from cosfs.store.memory import MemoryStore
from cosfs.vfs.capacity import Capacity
from cosfs.vfs.contenttypes import with_content_type
from cosfs.vfs.filesystem import FileSystem
from cosfs.vfs.metacache import MetaCache
from tests.fakeclock import FakeClock
from tests.vfs.conftest import ME, MakeFs
from tests.vfs.programs import names, open_file, read_file, write_file, write_unseen


def spent(store: MemoryStore) -> int:
    return store.requests.total()


class TestRefresh:
    def test_content_that_somebody_else_replaced(
        self, fs: FileSystem, store: MemoryStore
    ) -> None:
        write_file(fs, "/f", b"mine")
        write_unseen(store, "/f", b"theirs")
        assert fs.getattr("/f").size == 4
        fs.refresh("/f")
        assert fs.getattr("/f").size == 6
        assert read_file(fs, "/f") == b"theirs"

    @pytest.mark.parametrize("path", ["/d", "/", "/d/e"])
    def test_names_that_came_and_went_in_a_tree(
        self, fs: FileSystem, store: MemoryStore, path: str
    ) -> None:
        for folder in ("/d", "/d/e"):
            fs.mkdir(folder, 0o755, ME)
        write_file(fs, "/d/e/old", b"x")
        assert names(fs, "/d/e") == ["old"]
        with store.unseen():
            store.delete_file("/d/e/old")
        write_unseen(store, "/d/e/new", b"x")
        assert names(fs, "/d/e") == ["old"]
        fs.refresh(path)
        assert names(fs, "/d/e") == ["new"]
        with pytest.raises(NotFound):
            fs.getattr("/d/e/old")

    def test_nothing_else_is_asked_for_anew(self, fs: FileSystem, store: MemoryStore) -> None:
        for folder in ("/a", "/ab", "/b"):
            fs.mkdir(folder, 0o755, ME)
            write_file(fs, f"{folder}/f", b"x")
            names(fs, folder)
        fs.refresh("/a")
        before = spent(store)
        for folder in ("/ab", "/b"):
            assert fs.getattr(f"{folder}/f").size == 1 and names(fs, folder) == ["f"]
        assert spent(store) == before
        names(fs, "/a")
        assert spent(store) > before

    def test_a_path_whose_folders_were_believed_absent(
        self, fs: FileSystem, store: MemoryStore
    ) -> None:
        assert names(fs, "/") == []
        write_unseen(store, "/new/deep/f", b"x")
        with pytest.raises(NotFound):
            fs.getattr("/new")
        fs.refresh("/new/deep/f")
        for path in ("/new", "/new/deep", "/new/deep/f"):
            fs.getattr(path)

    def test_folders_that_are_known_stay_so(self, fs: FileSystem, store: MemoryStore) -> None:
        fs.mkdir("/d", 0o755, ME)
        write_file(fs, "/d/f", b"x")
        fs.refresh("/d/f")
        before = spent(store)
        fs.getattr("/d")
        assert spent(store) == before

    def test_times_of_what_did_not_change_stay(
        self, fs: FileSystem, clock: FakeClock
    ) -> None:
        clock.advance(0.25)
        write_file(fs, "/f", b"x")
        before = fs.getattr("/f")
        fs.refresh("/")
        assert fs.getattr("/f") == before

    def test_own_files_do_not_vanish_when_the_listing_lags(
        self, store: MemoryStore, make_fs: MakeFs
    ) -> None:
        fs = make_fs()
        names(fs, "/")
        store.listing_lag_s = 30
        write_file(fs, "/f", b"mine")
        fs.refresh("/")
        assert names(fs, "/") == ["f"]
        fs.unlink("/f")
        fs.refresh("/")
        assert names(fs, "/") == []

    def test_a_foreign_removal_wins_over_an_own_change_of_just_now(
        self, fs: FileSystem, store: MemoryStore
    ) -> None:
        names(fs, "/")
        write_file(fs, "/f", b"mine")
        with store.unseen():
            store.delete_file("/f")
        fs.refresh("/")
        assert names(fs, "/") == []

    def test_a_reply_under_way_is_not_believed(
        self, fs: FileSystem, store: MemoryStore
    ) -> None:
        write_unseen(store, "/f", b"old")
        asked = False

        def change_then_refresh(method: str, _path: str) -> None:
            nonlocal asked
            if method == "list_page" and not asked:
                asked = True
                names(fs, "/")  # an answer from before the change ...
                write_unseen(store, "/f", b"newer")
                fs.refresh("/")

        store.hook = change_then_refresh
        fs.getattr("/f")
        store.hook = None
        assert fs.getattr("/f").size == 5

    def test_a_file_that_is_being_written_keeps_its_bytes(
        self, fs: FileSystem, store: MemoryStore
    ) -> None:
        fh = open_file(fs, "/f", os.O_WRONLY | os.O_CREAT)
        fs.write(fh, 0, b"mine")
        fs.refresh("/")
        assert fs.getattr("/f").size == 4 and names(fs, "/") == ["f"]
        fs.flush(fh, ME)
        fs.release(fh)
        assert store.files() == {"/f": b"mine"}

    def test_by_an_extended_attribute(self, fs: FileSystem, store: MemoryStore) -> None:
        write_file(fs, "/f", b"mine")
        write_unseen(store, "/f", b"theirs")
        before = spent(store)
        fs.setxattr("/f", "user.cos.refresh", b"1", create=False, replace=False)
        assert spent(store) == before
        assert fs.getattr("/f").size == 6
        assert "user.cos.refresh" not in fs.listxattr("/f")
        with pytest.raises(NoSuchAttribute):
            fs.getxattr("/f", "user.cos.refresh")


class TestCapacity:
    def capacity(self, size: int, files: Mapping[str, int]) -> Capacity:
        cache = MetaCache(CacheOptions(), FakeClock())
        listed = {name: Entry(Kind.FILE, size=length) for name, length in files.items()}
        cache.learn_listing("/", listed, cache.generation(), {})
        return Capacity(cache, FakeClock(), size)

    def test_used_is_what_is_known(self) -> None:
        stats = self.capacity(1 << 40, {"a": 1, "b": 8192}).stats()
        assert stats.blocks * stats.block_size == 1 << 40
        assert stats.blocks - stats.blocks_free == 3
        assert stats.files - stats.files_free == 2

    @pytest.mark.parametrize("size", [1 << 20, 1 << 30, (1 << 63) - 1])
    def test_there_is_always_something_free(self, size: int) -> None:
        stats = self.capacity(size, {"a": size, "b": size}).stats()
        assert 0 < stats.blocks_free <= stats.blocks

    def test_listings_count_too_and_expire(
        self, fs: FileSystem, store: MemoryStore, clock: FakeClock
    ) -> None:
        assert fs.statfs().blocks * 4096 == 1 << 50
        for n in range(3):
            write_unseen(store, f"/d/{n}", b"x" * 10_000)
        fs.getattr("/d/0")
        names(fs, "/d")
        clock.advance(6)
        before = spent(store)
        stats = fs.statfs()
        assert stats.blocks - stats.blocks_free == -(-30_000 // 4096)
        clock.advance(60)
        assert fs.statfs().blocks == fs.statfs().blocks_free
        assert spent(store) == before

    def test_the_answer_is_given_again_for_a_while(
        self, fs: FileSystem, clock: FakeClock
    ) -> None:
        names(fs, "/")
        first = fs.statfs()
        for size in (50_000, 5000):
            write_file(fs, "/f", b"x" * size)
        write_file(fs, "/g", b"x" * 50_000)
        fs.unlink("/g")
        assert fs.statfs() is first
        clock.advance(6)
        assert fs.statfs().blocks_free == first.blocks_free - 2


class TestUsage:
    def test_what_is_open_and_dirty(self, fs: FileSystem) -> None:
        write_file(fs, "/clean", b"x")
        fhs = [open_file(fs, "/clean", os.O_RDONLY) for _ in range(2)]
        fhs.append(open_file(fs, "/dirty", os.O_WRONLY | os.O_CREAT))
        fs.write(fhs[-1], 0, b"12345")
        usage = fs.usage().files
        assert (usage.descriptors, usage.files) == (3, 2)
        assert (usage.dirty_files, usage.dirty_bytes) == (1, 5)
        for fh in fhs:
            fs.flush(fh, ME)
            fs.release(fh)
        usage = fs.usage().files
        assert (usage.descriptors, usage.files, usage.dirty_files) == (0, 0, 0)

    def test_hits_and_misses(self, fs: FileSystem, store: MemoryStore) -> None:
        write_unseen(store, "/f", b"x" * 100)
        assert fs.usage().cache.hits == fs.usage().cache.misses == 0
        fs.getattr("/f")
        missed = fs.usage().cache
        assert missed.misses > 0
        fs.getattr("/f")
        hit = fs.usage().cache
        assert hit.misses == missed.misses and hit.hits > missed.hits
        read_file(fs, "/f")
        read_file(fs, "/f")
        content = fs.usage().content
        assert (content.bytes, content.fetches) == (100, 1) and content.hits >= 1
        write_file(fs, "/g", b"kept, not fetched")
        assert fs.usage().content.fetches == 1


class TestContentType:
    def content_type(self, store: MemoryStore, path: str) -> bytes | None:
        with store.unseen():
            metadata = store.stat_file(path).metadata
        assert metadata is not None
        return metadata.properties.get("content_type")

    def test_off_unless_asked_for(self, fs: FileSystem, store: MemoryStore) -> None:
        write_file(fs, "/a.png", b"x")
        assert self.content_type(store, "/a.png") is None

    def test_of_a_new_file(self, make_fs: MakeFs, store: MemoryStore) -> None:
        fs = make_fs(content_type="auto")
        for name in ("a.png", "b", "c.TXT", ".png"):
            write_file(fs, f"/{name}", b"x")
        assert self.content_type(store, "/a.png") == b"image/png"
        assert self.content_type(store, "/b") is None
        assert self.content_type(store, "/c.TXT") == b"text/plain"
        assert self.content_type(store, "/.png") is None
        assert fs.getxattr("/a.png", "user.content_type") == b"image/png"

    def test_what_stands_there_is_not_changed(
        self, make_fs: MakeFs, store: MemoryStore
    ) -> None:
        with store.unseen():
            store.write_file("/a.png", BytesSource(b"x"), metadata=Metadata())
            theirs = Metadata({"content_type": b"image/odd"})
            store.write_file("/b.png", BytesSource(b"x"), metadata=theirs)
        fs = make_fs(content_type="auto")
        for name in "ab":
            write_file(fs, f"/{name}.png", b"new")
        assert self.content_type(store, "/a.png") is None
        assert self.content_type(store, "/b.png") == b"image/odd"

    def test_a_program_may_know_better(self, make_fs: MakeFs, store: MemoryStore) -> None:
        fs = make_fs(content_type="auto")
        fh = open_file(fs, "/a.png", os.O_WRONLY | os.O_CREAT)
        fs.setxattr("/a.png", "user.content_type", b"image/odd", create=False, replace=False)
        fs.flush(fh, ME)
        fs.release(fh)
        assert self.content_type(store, "/a.png") == b"image/odd"

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("a.tar.gz", b"application/gzip"),
            ("a.svg", b"image/svg+xml"),
            ("http:b.html", b"text/html"),
            ("a.html;b?c.txt", b"text/plain"),
            ("odd\udcff.png", b"image/png"),
            ("a.unheard-of", None),
            ("data:text", None),
        ],
    )
    def test_by_extension(self, name: str, kind: bytes | None) -> None:
        found = with_content_type(Metadata(), f"/d.png/{name}")
        assert found.properties.get("content_type") == kind


def test_a_rename_does_not_renew_what_is_believed(
    make_fs: MakeFs, store: MemoryStore, clock: FakeClock
) -> None:
    for path in ("/d/f", "/e/other"):
        write_unseen(store, path, b"old")
    # A stat that asks for attributes would see the newer version.
    fs = make_fs(attrs="none")
    assert names(fs, "/d") == ["f"] and names(fs, "/e") == ["other"]
    write_unseen(store, "/d/f", b"newer")
    for target, source in (("/d/g", "/d/f"), ("/e/g", "/d/g"), ("/h", "/e/g")):
        clock.advance(19)
        fs.rename(source, target)
    assert fs.getattr("/h").size == 3
    clock.advance(4)
    assert fs.getattr("/h").size == 5
    assert "h" in names(fs, "/")
    assert fs.getattr("/h").size == 5
