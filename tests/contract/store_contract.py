"""What every store promises to the file system (cosfs.store.base), as one class of tests.

A subclass gives the fixture ``store``: an empty one for each test. The attributes say what its
server is like where servers may differ.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from cosfs.errors import (
    AlreadyExists,
    AttributesTooLarge,
    FolderNotEmpty,
    InvalidArgument,
    InvalidName,
    NameTooLong,
    NotFound,
    NotPermitted,
    ObjectChanged,
)
from cosfs.model import BytesSource, Entry, Kind, Metadata, Version
from cosfs.store.base import Store
from tests.contract.attributes_contract import AttributesContract

MIB = 1024 * 1024

ODD_NAMES = [
    " ",
    "  outer  ",
    "a b",
    "中文 目录.txt",
    "émoji 🦀",
    "e\u0301",  # decomposed: stays so
    "12:30?.log",
    '*|\\<>"',
    "？",
    "‛",
    "‛？",
    "‛‛FF",
    "\udcff\udc80",
    "é\udcc3",
    "tab\tnew\nline\x7f",
    "%41%2F+~",
    "a&b=c;d#e",
    "'(){}[]!$^`@,",
    "-rf",
    "...",
    "\u00a0",
    "x" * 255,
    "中" * 85,
    "?" * 255,
    "\udcff" * 100,
]


def write(
    store: Store, path: str, data: bytes = b"", *, create_only: bool = False, **named: bytes
) -> Entry:
    """Store ``data`` with the properties ``named``; ``x_cos_meta_a`` means ``x-cos-meta-a``."""
    given = {
        name.replace("_", "-") if name.startswith("x_cos") else name: value
        for name, value in named.items()
    }
    return store.write_file(
        path, BytesSource(data), metadata=Metadata(given), create_only=create_only
    )


def read(store: Store, path: str, entry: Entry) -> bytes:
    content = bytearray(entry.size)
    store.read_range(path, 0, memoryview(content), entry.version)
    return bytes(content)


def properties(store: Store, path: str) -> dict[str, bytes]:
    entry = store.stat_file(path)
    assert entry.metadata is not None
    return dict(entry.metadata.properties)


def set_properties(store: Store, path: str, changed: dict[str, bytes]) -> None:
    """Make ``changed`` the whole of the properties of a file."""
    store.set_metadata(path, store.stat_file(path), Metadata(changed))


def list_all(store: Store, folder: str, prefix: str = "") -> dict[str, Entry]:
    """Return all pages as one, as the file system puts them together: folders win."""
    entries: dict[str, Entry] = {}
    cursor: str | None = ""
    cursors = set()
    while cursor is not None:
        assert cursor not in cursors, "a listing goes in circles"
        cursors.add(cursor)
        page = store.list_page(folder, prefix=prefix, cursor=cursor)
        for name, entry in page.entries.items():
            if entry.is_folder or name not in entries:
                entries[name] = entry
        cursor = page.cursor
    return entries


def in_threads(count: int, work: Callable[[int], object]) -> list[object]:
    """Run ``work(0..count-1)``, all starting together; return results, raise what they raised."""
    start = threading.Barrier(count)

    def run(number: int) -> object:
        start.wait(30)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def big_content(number: int) -> bytes:
    """Return what is in a file of the big folder: few different contents, for servers' sake."""
    return b"x" * (number % 4)


def is_too_long(store: Store, folder: str) -> bool:
    try:
        store.check_folder(folder)
    except NameTooLong:
        return True
    return False


class StoreContract(AttributesContract):
    """The tests. ``store`` is given by the subclass."""

    #: How many names ``big_folder`` holds.
    big = 2500

    def calls_on_folders(self, store: Store) -> list[Callable[[str], object]]:
        """Return the calls that take a real folder alone."""
        calls: list[Callable[[str], object]] = [store.stat_folder]
        if self.looks_for_folders_at_once:
            calls.append(lambda path: store.delete_folder(path, marked=False))
        return calls

    @pytest.fixture
    def big_folder(self, store: Store) -> str:
        """A real folder with ``big`` files and a folder in it."""
        store.make_folder("/big")
        store.make_folder("/big/m-folder")
        for number in range(self.big - 1):
            write(store, f"/big/{number:04}", big_content(number))
        return "/big"

    # Files.

    def test_probe_and_root(self, store: Store) -> None:
        store.probe()
        root = store.stat_folder("/")
        assert root.is_folder and root.metadata == Metadata({}, {})
        assert list_all(store, "/") == {}

    def test_a_file_is_what_was_written(self, store: Store) -> None:
        data = b"hello\n"
        before = time.time()
        written = write(store, "/f", data, biz_attr=b"demo")
        found = store.stat_file("/f")
        listed = list_all(store, "/")["f"]
        for entry in (written, found, listed):
            assert entry.kind is Kind.FILE and not entry.implied
            assert entry.version == Version(hashlib.sha1(data).hexdigest(), len(data))
            assert entry.mtime_ns % 10**9 == 0
            assert abs(entry.mtime_ns / 1e9 - before) < 10
            assert abs(entry.ctime_ns / 1e9 - before) < 10
        assert listed.metadata is None
        assert written.metadata is not None and found.metadata is not None
        assert written.metadata.properties == found.metadata.properties == {"biz_attr": b"demo"}
        assert written.metadata.facts is None
        facts = found.metadata.facts
        assert facts is not None
        assert facts["cos.sha"] == written.digest.encode()
        assert facts["cos.filelen"] == b"6"
        assert read(store, "/f", written) == data

    def test_an_empty_file(self, store: Store) -> None:
        written = write(store, "/empty")
        assert written.size == store.stat_file("/empty").size == 0
        assert written.digest == store.stat_file("/empty").digest == hashlib.sha1().hexdigest()
        assert list_all(store, "/")["empty"].version == written.version
        store.read_range("/empty", 0, memoryview(bytearray()), written.version)

    def test_overwriting_replaces_content_and_metadata(self, store: Store) -> None:
        write(store, "/f", b"old content", biz_attr=b"old", x_cos_meta_a=b"1")
        new = write(store, "/f", b"new", x_cos_meta_b=b"2", content_type=b"text/plain")
        assert read(store, "/f", store.stat_file("/f")) == b"new"
        assert properties(store, "/f") == {"x-cos-meta-b": b"2", "content_type": b"text/plain"}
        assert list_all(store, "/")["f"].version == new.version
        write(store, "/f", b"newer")
        if not self.overwrite_keeps_headers:
            assert properties(store, "/f") == {}

    def test_create_only(self, store: Store) -> None:
        write(store, "/f", b"first", create_only=True)
        for data in (b"second", b"first"):
            with pytest.raises(AlreadyExists):
                write(store, "/f", data, create_only=True, biz_attr=b"x")
        assert read(store, "/f", store.stat_file("/f")) == b"first"
        assert properties(store, "/f") == {}
        store.delete_file("/f")
        write(store, "/f", b"third", create_only=True)

    def test_a_folder_does_not_hinder_a_file(self, store: Store) -> None:
        store.make_folder("/a")
        write(store, "/a", b"x", create_only=True)
        assert store.stat_file("/a").size == 1
        assert store.stat_folder("/a").is_folder
        assert list_all(store, "/")["a"].is_folder

    def test_missing_files(self, store: Store) -> None:
        store.make_folder("/folder")
        for path in ("/missing", "/no/such", "/folder"):
            with pytest.raises(NotFound):
                store.stat_file(path)
            with pytest.raises(NotFound):
                store.delete_file(path)
            with pytest.raises(NotFound):
                store.read_range(path, 0, memoryview(bytearray(1)), Version("0" * 40, 1))
            with pytest.raises(NotFound):
                store.move_file(path, "/new", overwrite=True)
            with pytest.raises(NotFound):
                store.set_metadata(path, Entry(Kind.FILE), Metadata({"biz_attr": b"x"}))
        assert set(list_all(store, "/")) == {"folder"}

    def test_deleting(self, store: Store) -> None:
        for name in ("a", "b"):
            write(store, f"/{name}")
        store.delete_file("/a")
        assert set(list_all(store, "/")) == {"b"}
        with pytest.raises(NotFound):
            store.stat_file("/a")

    # Names.

    @pytest.mark.parametrize("name", ODD_NAMES, ids=[f"odd{n}" for n in range(len(ODD_NAMES))])
    def test_odd_names(self, store: Store, name: str) -> None:
        store.check_path(f"/{name}")
        store.make_folder("/d")
        path = f"/d/{name}"
        entry = write(store, path, b"content", biz_attr=b"odd")
        assert list_all(store, "/d") == {name: SameVersion(entry)}
        assert name in list_all(store, "/d", prefix=name)
        assert name in list_all(store, "/d", prefix=name[:1])
        assert read(store, path, store.stat_file(path)) == b"content"
        store.move_file(path, f"/{name}", overwrite=False)
        assert set(list_all(store, "/d")) == set()
        assert properties(store, f"/{name}") == {"biz_attr": b"odd"}
        set_properties(store, f"/{name}", {"biz_attr": b"odder"})
        store.delete_file(f"/{name}")
        store.make_folder(path)
        assert store.stat_folder(path).is_folder
        assert list_all(store, "/d")[name].is_folder
        store.delete_folder(path, marked=False)
        assert list_all(store, "/d") == {}

    def test_names_too_long(self, store: Store) -> None:
        deep = "/" + "/".join(["x" * 200] * 5)
        for path in ("/" + "x" * 256, "/" + "中" * 86, "/" + "x" * 256 + "/y", deep):
            for call in (store.check_path, store.stat_file, store.make_folder, store.delete_file):
                with pytest.raises(NameTooLong):
                    call(path)
            with pytest.raises(NameTooLong):
                write(store, path)
            with pytest.raises(NameTooLong):
                store.move_file("/f", path, overwrite=True)

    def test_a_folder_leaves_room_for_its_mark(self, store: Store) -> None:
        below = "/" + "/".join(["中" * 66] * 4)
        name = next(n for n in range(1, 100) if is_too_long(store, f"{below}/{'y' * n}")) * "y"
        store.check_path(f"{below}/{name}/f")
        with pytest.raises(NameTooLong):
            store.make_folder(f"{below}/{name}")
        assert list_all(store, below) == {}
        fits = f"{below}/{name[1:]}"
        store.make_folder(fits)
        assert store.mark_folder(fits)
        write(store, f"{fits}/1234567")
        with pytest.raises(NameTooLong):
            write(store, f"{fits}/12345678")
        assert set(list_all(store, fits)) == {"1234567"}

    def test_impossible_names(self, store: Store) -> None:
        store.check_path("/")
        for path in ("/a//b", "/.", "/a/../b", "/a\0b", "relative", ""):
            with pytest.raises(InvalidName):
                store.check_path(path)
            with pytest.raises(InvalidName):
                write(store, path)

    def test_own_names_are_not_shown(self, store: Store) -> None:
        for path in ("/.cosfs-work/x", "/.cosfs/x", "/d/.cosfs/x", "/d/.cosfs-work/x", "/d/f"):
            write(store, path)
        assert set(list_all(store, "/")) == {"d"}
        assert set(list_all(store, "/d")) == {".cosfs-work", "f"}
        assert set(list_all(store, "/.cosfs-work")) == {"x"}

    # Reading.

    def test_ranges(self, store: Store) -> None:
        data = random.Random(1).randbytes(100_000)
        entry = write(store, "/f", data)
        for offset, length in [(0, 1), (0, 100_000), (99_999, 1), (5, 70_000), (100_000, 0)]:
            into = bytearray(length + 2)
            store.read_range("/f", offset, memoryview(into)[1:-1], entry.version)
            assert bytes(into) == b"\0" + data[offset : offset + length] + b"\0"
        with pytest.raises(InvalidArgument):
            store.read_range("/f", 99_999, memoryview(bytearray(2)), entry.version)

    @pytest.mark.parametrize("replacement", [b"12345", b"1234", b"123456789", b""])
    def test_another_version_is_not_read(self, store: Store, replacement: bytes) -> None:
        old = write(store, "/f", b"54321")
        write(store, "/f", replacement)
        for offset in (0, 4):
            with pytest.raises(ObjectChanged):
                store.read_range("/f", offset, memoryview(bytearray(1)), old.version)
        write(store, "/f", b"54321")
        assert read(store, "/f", old) == b"54321"
        store.delete_file("/f")
        with pytest.raises(NotFound):
            read(store, "/f", old)

    # Moving.

    def test_moving(self, store: Store) -> None:
        old = write(store, "/a", b"content", biz_attr=b"demo", x_cos_meta_a=b"1")
        store.move_file("/a", "/d/b", overwrite=False)
        with pytest.raises(NotFound):
            store.stat_file("/a")
        assert set(list_all(store, "/")) == {"d"}
        found = store.stat_file("/d/b")
        assert found.version == old.version
        assert read(store, "/d/b", found) == b"content"
        assert properties(store, "/d/b") == {"biz_attr": b"demo", "x-cos-meta-a": b"1"}

    def test_moving_over_a_file(self, store: Store) -> None:
        write(store, "/a", b"new", x_cos_meta_a=b"1")
        write(store, "/b", b"old", biz_attr=b"b", x_cos_meta_b=b"1")
        with pytest.raises(AlreadyExists):
            store.move_file("/a", "/b", overwrite=False)
        assert set(list_all(store, "/")) == {"a", "b"}
        assert read(store, "/b", store.stat_file("/b")) == b"old"
        store.move_file("/a", "/b", overwrite=True)
        assert set(list_all(store, "/")) == {"b"}
        assert read(store, "/b", store.stat_file("/b")) == b"new"
        assert properties(store, "/b") == {"x-cos-meta-a": b"1"}

    # Folders.

    def test_a_folder(self, store: Store) -> None:
        made = store.make_folder("/d")
        found = store.stat_folder("/d")
        listed = list_all(store, "/")["d"]
        for entry in (made, found, listed):
            assert entry.is_folder and not entry.implied and entry.size == 0
            assert abs(entry.mtime_ns / 1e9 - time.time()) < 10
        for entry in (made, found):
            assert entry.metadata == Metadata({}, {})
        assert list_all(store, "/d") == {}
        with pytest.raises(AlreadyExists):
            store.make_folder("/d")
        store.delete_folder("/d", marked=False)
        for call in self.calls_on_folders(store):
            with pytest.raises(NotFound):
                call("/d")
        assert list_all(store, "/") == {}
        store.make_folder("/d")

    def test_an_implied_folder(self, store: Store) -> None:
        write(store, "/d/e/f")
        for folder in ("/d", "/d/e"):
            for call in self.calls_on_folders(store):
                with pytest.raises(NotFound):
                    call(folder)
        for folder, name in (("/", "d"), ("/d", "e")):
            listed = list_all(store, folder)[name]
            assert listed.is_folder and listed.implied == self.implied_is_listed
        store.make_folder("/d/e")
        assert not list_all(store, "/d")["e"].implied
        store.delete_file("/d/e/f")
        assert set(list_all(store, "/d")) == {"e"}
        assert list_all(store, "/d/e") == {}

    def test_a_full_folder(self, store: Store) -> None:
        store.make_folder("/d")
        write(store, "/d/f", b"kept")
        if self.refuses_full_folders:
            with pytest.raises(FolderNotEmpty):
                store.delete_folder("/d", marked=False)
            assert not list_all(store, "/")["d"].implied
        else:
            store.delete_folder("/d", marked=False)
            assert list_all(store, "/")["d"].implied == self.implied_is_listed
        assert read(store, "/d/f", store.stat_file("/d/f")) == b"kept"

    # Listings.

    def test_a_missing_folder_lists_as_empty(self, store: Store) -> None:
        assert list_all(store, "/missing") == {}
        write(store, "/f")
        assert list_all(store, "/f") == {}

    def test_a_big_folder_is_listed_completely(self, store: Store, big_folder: str) -> None:
        entries = list_all(store, big_folder)
        assert len(entries) == self.big
        assert entries["m-folder"].is_folder
        for number in range(self.big - 1):
            assert entries[f"{number:04}"].size == len(big_content(number))

    def test_a_listing_by_prefix(self, store: Store) -> None:
        names = ["a", "a b", "a ", "a-", "a?", "a？", "ab", "b", " a", "‛", "‛FF", "\udcff", "ä"]
        for name in names:
            write(store, f"/d/{name}")
        write(store, "/d/a.folder/x")
        write(store, "/a")
        names.append("a.folder")
        assert set(list_all(store, "/d")) == set(names)
        for prefix in ["a", "a ", "a?", "a？", "ab", "abc", " ", "‛", "‛F", "\udcff", "a.folder"]:
            expected = {name for name in names if name.startswith(prefix)}
            assert set(list_all(store, "/d", prefix)) == expected, prefix
        assert set(list_all(store, "/", "d")) == {"d"}

    def test_where_a_file_and_a_folder_have_one_name(self, store: Store) -> None:
        write(store, "/n")
        write(store, "/n-between")
        write(store, "/n/below")
        entries = list_all(store, "/")
        assert set(entries) == {"n", "n-between"}
        assert entries["n"].is_folder
        assert list_all(store, "/", "n")["n"].is_folder

    # Metadata.

    def test_metadata_of_a_file(self, store: Store) -> None:
        given = {
            "biz_attr": "备注 demo".encode(),
            "authority": b"eWRPrivate",
            "content_type": b"text/plain",
            "cache_control": b"max-age=60",
            "content_disposition": "attachment; filename*=UTF-8''%E4%B8%AD".encode(),
            "content_language": b"de",
            "content_encoding": b"identity",
            "x-cos-meta-owner": b"me",
            "x-cos-meta-empty": b"",
            "comment": "señor".encode(),
            "mime_Type.Odd \udcff": b"\xff\0\r\n",
        }
        written = store.write_file("/f", BytesSource(b"1"), metadata=Metadata(given))
        assert written.metadata is not None and written.metadata.properties == given
        assert properties(store, "/f") == given
        for name in given:
            left = {key: value for key, value in given.items() if key != name}
            set_properties(store, "/f", left)
            assert properties(store, "/f") == left
            set_properties(store, "/f", given)
        assert properties(store, "/f") == given
        changed = {name: value + b"2" for name, value in given.items() if name != "authority"}
        set_properties(store, "/f", changed)
        assert properties(store, "/f") == changed
        set_properties(store, "/f", {})
        assert properties(store, "/f") == {}
        assert read(store, "/f", written) == b"1"

    def test_setting_without_knowing(self, store: Store) -> None:
        write(store, "/f", biz_attr=b"old", x_cos_meta_a=b"1", authority=b"eWRPrivate")
        listed = list_all(store, "/")["f"]
        store.set_metadata("/f", listed, Metadata({"x-cos-meta-b": b"2"}))
        assert properties(store, "/f") == {"x-cos-meta-b": b"2"}

    def test_the_text_of_a_folder(self, store: Store) -> None:
        store.make_folder("/d")
        wanted = {"biz_attr": b"a folder"}
        store.set_metadata("/d", store.stat_folder("/d"), Metadata(wanted))
        found = store.stat_folder("/d")
        assert found.metadata is not None and found.metadata.properties == wanted
        store.set_metadata("/d", found, Metadata({}))
        found = store.stat_folder("/d")
        assert found.metadata is not None and found.metadata.properties == {}
        store.delete_folder("/d", marked=False)
        with pytest.raises(NotFound) if self.looks_for_folders_at_once else suppress(NotFound):
            store.set_metadata("/d", found, Metadata({"biz_attr": b"late"}))

    def test_metadata_of_an_implied_folder(self, store: Store) -> None:
        write(store, "/d/f")
        store.set_metadata("/d", list_all(store, "/")["d"], Metadata({"biz_attr": b"x"}))
        found = store.stat_folder("/d")
        assert found.metadata is not None and found.metadata.properties == {"biz_attr": b"x"}
        if not self.refuses_full_folders:
            store.delete_folder("/d", marked=False)
        store.set_metadata("/d", Entry(Kind.FOLDER, implied=True), Metadata({"biz_attr": b"y"}))
        found = store.stat_folder("/d")
        assert found.metadata is not None and found.metadata.properties == {"biz_attr": b"y"}

    def test_which_properties_can_be_set(self, store: Store) -> None:
        store.check_property("/f", "biz_attr", b"x")
        store.check_property("/f", "anything", bytes(range(256)))
        for name in ("cos.sha", "cos.forbid", "x-cos-meta-mode", "x-cos-meta-xattr-a"):
            with pytest.raises(NotPermitted):
                store.check_property("/f", name, b"1")
        for name, value in [("x-cos-meta-A", b"1"), ("authority", b"x"), ("content_type", b"\n")]:
            with pytest.raises(InvalidArgument):
                store.check_property("/f", name, value)
        with pytest.raises(AttributesTooLarge):
            store.check_property("/f", "x-cos-meta-a", b"x" * 10_000)
        with pytest.raises(AttributesTooLarge):
            write(store, "/f", biz_attr=b"x" * 10_000)
        with pytest.raises(NotFound):
            store.stat_file("/f")

    # Threads.

    def test_many_threads(self, store: Store) -> None:
        def work(number: int) -> None:
            chance = random.Random(number)
            for turn in range(5):
                path = f"/t{number}/{turn}"
                data = chance.randbytes(10_000)
                entry = write(store, path, data, biz_attr=b"%d" % turn)
                assert read(store, path, entry) == data
                store.move_file(path, path + "-moved", overwrite=True)
                assert read(store, path + "-moved", entry) == data
            assert len(list_all(store, f"/t{number}")) == 5

        in_threads(8, work)
        assert set(list_all(store, "/")) == {f"t{number}" for number in range(8)}

    def test_one_of_many_creates(self, store: Store) -> None:
        def work(number: int) -> bool:
            try:
                write(store, "/f", b"%d" % number, create_only=True)
            except AlreadyExists:
                return False
            return True

        won = in_threads(8, work)
        assert won.count(True) == 1
        assert read(store, "/f", store.stat_file("/f")) == b"%d" % won.index(True)


class LargeFiles:
    """Tests of content around the limit of one upload. ``store`` is given by the subclass."""

    @pytest.mark.parametrize("size", [20 * MIB - 1, 20 * MIB, 20 * MIB + 1])
    def test_around_the_limit(self, store: Store, size: int) -> None:
        data = random.Random(size).randbytes(size)
        given = {"biz_attr": b"large", "x-cos-meta-a": b"1", "authority": b"eWRPrivate"}
        source = BytesSource(data)
        written = store.write_file("/f", source, metadata=Metadata(given), create_only=True)
        assert written.version == Version(hashlib.sha1(data).hexdigest(), size)
        found = store.stat_file("/f")
        assert found.version == written.version
        assert found.metadata is not None and found.metadata.properties == given
        assert set(list_all(store, "/")) == {"f"}
        assert read(store, "/f", written) == data
        with pytest.raises(AlreadyExists):
            store.write_file("/f", source, metadata=Metadata(), create_only=True)
        assert set(list_all(store, "/")) == {"f"}
        store.write_file("/f", BytesSource(data[::-1]), metadata=Metadata())
        assert properties(store, "/f") == {}
        assert read(store, "/f", store.stat_file("/f")) == data[::-1]


class SameVersion:
    """Equals an entry of the same version in a listing, which has no metadata."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and other.version == self._entry.version

    def __repr__(self) -> str:
        return repr(self._entry)
