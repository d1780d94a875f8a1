"""What the memory store offers to tests beyond the contract."""

from __future__ import annotations

import pytest

from cosfs.errors import FolderNotEmpty, NameTooLong, NotFound, SourceFailed
from cosfs.model import Attributes, BytesSource, Entry, Kind, Metadata
from cosfs.store.base import Store
from cosfs.store.memory import MemoryStore
from tests.fakeclock import FakeClock


class ShortSource(BytesSource):
    """Content that is shorter than it says."""

    @property
    def size(self) -> int:
        return len(self.data) + 1


def put(store: Store, path: str, data: bytes = b"") -> None:
    store.write_file(path, BytesSource(data), metadata=Metadata())


def test_times_are_whole_seconds_of_the_clock() -> None:
    store = MemoryStore(clock=FakeClock(1_000_000.75))
    put(store, "/f")
    entry = store.stat_file("/f")
    assert entry.mtime_ns == entry.ctime_ns == 1_000_000 * 10**9
    assert entry.metadata is not None and entry.metadata.facts is not None
    assert entry.metadata.facts["cos.ctime"] == b"1000000"


def test_requests_are_counted_by_method() -> None:
    store = MemoryStore()
    put(store, "/f")
    store.list_page("/")
    with pytest.raises(NotFound):
        store.stat_file("/g")
    store.stat_file("/f")
    store.check_path("/h")
    assert store.requests == {"write_file": 1, "list_page": 1, "stat_file": 2}
    with store.unseen() as other:
        put(other, "/g")
    assert store.requests.total() == 4
    assert store.files() == {"/f": b"", "/g": b""}


def test_nothing_is_asked_when_no_property_differs() -> None:
    store = MemoryStore()
    put(store, "/f")
    store.set_metadata("/f", store.stat_file("/f"), Metadata({"biz_attr": b""}))
    assert "set_metadata" not in store.requests


def test_a_hook_changes_the_store_behind_its_user() -> None:
    store = MemoryStore()
    put(store, "/f", b"old")
    calls = []

    def hook(method: str, path: str) -> None:
        calls.append((method, path))
        put(store, "/f", b"newer")

    store.hook = hook
    assert store.stat_file("/f").size == 5
    assert calls == [("stat_file", "/f")]
    assert store.requests == {"write_file": 1, "stat_file": 1}


def test_a_listing_lags() -> None:
    clock = FakeClock()
    store = MemoryStore(clock=clock, listing_lag_s=5)
    put(store, "/a")
    assert store.list_page("/").entries == {}
    assert store.stat_file("/a").size == 0
    clock.advance(3)
    store.move_file("/a", "/b", overwrite=False)
    clock.advance(2)
    assert set(store.list_page("/").entries) == {"a"}
    clock.advance(3)
    assert set(store.list_page("/").entries) == {"b"}
    store.listing_lag_s = 0
    put(store, "/c")
    assert set(store.list_page("/").entries) == {"b", "c"}


def test_a_page_may_be_empty_although_more_follows() -> None:
    store = MemoryStore(page_size=1)
    store.make_folder("/d")
    put(store, "/d/f")
    page = store.list_page("/d")
    assert page.entries == {}
    assert page.cursor is not None
    assert set(store.list_page("/d", cursor=page.cursor).entries) == {"f"}


def test_names_of_odd_bytes_do_not_confuse_pages() -> None:
    store = MemoryStore(page_size=1)
    names = ["d0", "d/\udcff\x01", "d/\udcff/x", "d", "d\udcff", "d-"]
    for name in names:
        put(store, f"/{name}")
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = store.list_page("/", cursor=cursor)
        seen += page.entries
        cursor = page.cursor
    assert seen == ["d", "d-", "d", "d0", "d\udcff"]


def test_a_closed_store() -> None:
    store = MemoryStore()
    store.close()
    with pytest.raises(RuntimeError):
        store.stat_file("/f")


def test_content_that_ends_early_is_not_stored() -> None:
    store = MemoryStore()
    with pytest.raises(SourceFailed):
        store.write_file("/f", ShortSource(b"12"), metadata=Metadata())
    assert store.files() == {}


HELD = Metadata({"comment": b"x"}, None, Attributes(mode=16877))


def test_marks_are_listed_as_late_as_names() -> None:
    clock = FakeClock()
    store = MemoryStore(clock=clock, listing_lag_s=5)
    store.make_folder("/d")
    store.mark_folder("/d", HELD)
    assert store.stat_mark("/d").attributes == HELD.attributes
    assert not store.list_page("/d").marked
    clock.advance(5)
    assert store.list_page("/d").marked
    store.delete_folder("/d", marked=True)
    assert store.list_page("/d").marked
    clock.advance(5)
    assert not store.list_page("/d").marked


def test_a_mark_takes_a_place_on_its_page() -> None:
    store = MemoryStore(page_size=2)
    for name in ("-", "a", "b"):
        put(store, f"/{name}")
    store.mark_folder("/")
    first = store.list_page("/")
    assert (set(first.entries), first.marked) == ({"-"}, True)
    assert first.cursor is not None
    second = store.list_page("/", cursor=first.cursor)
    assert (set(second.entries), second.marked, second.cursor) == ({"a", "b"}, False, None)


def test_marks_are_no_folders() -> None:
    store = MemoryStore()
    store.mark_folder("/")
    store.mark_folder("/implied")
    store.make_folder("/d")
    store.mark_folder("/d", HELD)
    assert store.folders() == ["/d"]
    marks = {folder: (held.properties, held.attributes) for folder, held in store.marks().items()}
    nothing: dict[str, bytes] = {}
    assert marks == {
        "/": (nothing, Attributes()),
        "/d": (HELD.properties, HELD.attributes),
        "/implied": (nothing, Attributes()),
    }
    assert store.requests == {"mark_folder": 3, "make_folder": 1}


def test_a_refused_deletion_leaves_the_mark() -> None:
    store = MemoryStore(refuse_full_folders=True)
    store.make_folder("/d")
    store.mark_folder("/d", HELD)
    put(store, "/d/f")
    with pytest.raises(FolderNotEmpty):
        store.delete_folder("/d", marked=True, holding=HELD)
    assert store.stat_mark("/d").attributes == HELD.attributes
    with pytest.raises(FolderNotEmpty):
        store.delete_folder("/d", marked=False)


def test_a_folder_too_deep_for_a_mark() -> None:
    store = MemoryStore()
    deep = "/" + "/".join(["x" * 200] * 4) + "/" + "y" * 39
    for call in (
        lambda: store.make_folder(deep),
        lambda: store.mark_folder(deep),
        lambda: store.set_metadata(deep, Entry(Kind.FOLDER), HELD),
    ):
        with pytest.raises(NameTooLong):
            call()
    assert store.folders() == []
