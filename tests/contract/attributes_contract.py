"""What every store promises about stored attributes and the marks of folders."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosfs.errors import AlreadyExists, AttributesTooLarge, NotFound
from cosfs.model import Attributes, BytesSource, Entry, Kind, Metadata
from cosfs.store.base import Store
from tests.unit.test_store_attributes import any_attributes

FULL = Attributes(
    mode=stat.S_IFREG | 0o7755,
    uid=1000,
    gid=2**32 - 2,
    mtime_ns=1_700_000_000_123_456_789,
    rdev=2**40 + 1,
)

SOME = [
    Attributes(mode=stat.S_IFREG | 0o640),
    Attributes(mode=stat.S_IFLNK | 0o777, mtime_ns=0),
    Attributes(mode=stat.S_IFCHR | 0o666, rdev=0x103),
    Attributes(mode=0, uid=0, gid=0, mtime_ns=0, rdev=0),
    Attributes(uid=65534),
    Attributes(mtime_ns=-1),
    Attributes(mtime_ns=-(10**9) * 10**6 - 1),
    Attributes(mtime_ns=2**34 * 10**9 + 999_999_999),
    FULL,
]

PROPERTIES = {
    "x-cos-meta-owner": "señor".encode(),
    "x-cos-meta-empty": b"",
    "content_type": b"text/plain",
    "authority": b"eWRPrivate",
    "comment": b'{"cosfs":1}',
    "mime_Type.Odd \udcff": b"\xff\0\r\n",
}


def write(store: Store, path: str, metadata: Metadata, *, create_only: bool = False) -> Entry:
    return store.write_file(path, BytesSource(b"1"), metadata=metadata, create_only=create_only)


def metadata_of(store: Store, path: str) -> Metadata:
    """Return properties and attributes of a file, without facts."""
    found = store.stat_file(path).metadata
    assert found is not None
    return Metadata(found.properties, None, found.attributes)


def mark_of(store: Store, folder: str) -> Metadata:
    """Return what a mark holds, without facts."""
    found = store.stat_mark(folder)
    return Metadata(found.properties, None, found.attributes)


def is_marked(store: Store, folder: str) -> bool:
    """Read the whole listing of a folder: is it marked?"""
    cursor: str | None = ""
    marked = False
    while cursor is not None:
        page = store.list_page(folder, cursor=cursor)
        assert ".cosfs" not in page.entries
        marked = marked or page.marked
        cursor = page.cursor
    return marked


class AttributesContract:
    """The tests. ``store`` is given by the subclass."""

    #: A listing tells implied folders from real ones.
    implied_is_listed = True
    #: ``delete_folder`` refuses a folder with content, instead of keeping the content.
    refuses_full_folders = False
    #: A file that is written over keeps headers that the new metadata does not name.
    overwrite_keeps_headers = False
    #: The removal of a folder that is none is refused by the call itself.
    looks_for_folders_at_once = True

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        raise NotImplementedError

    # Attributes of files.

    @pytest.mark.parametrize("attributes", SOME, ids=[f"some{n}" for n in range(len(SOME))])
    @pytest.mark.parametrize("text", [b"", b"demo"])
    def test_attributes_travel_with_a_file(
        self, store: Store, attributes: Attributes, text: bytes
    ) -> None:
        wanted = Metadata({}, None, attributes).with_property("biz_attr", text or None)
        written = write(store, "/f", wanted)
        assert written.metadata == wanted
        assert metadata_of(store, "/f") == wanted
        store.move_file("/f", "/d/g", overwrite=False)
        assert metadata_of(store, "/d/g") == wanted
        assert store.list_page("/d").entries["g"].metadata is None

    @pytest.mark.parametrize("create_only", [False, True])
    def test_attributes_beside_all_properties(self, store: Store, create_only: bool) -> None:
        wanted = Metadata({**PROPERTIES, "biz_attr": b"demo"}, None, FULL)
        write(store, "/f", wanted, create_only=create_only)
        assert metadata_of(store, "/f") == wanted
        wanted = wanted.with_property("biz_attr", None)
        write(store, "/g", wanted, create_only=create_only)
        assert metadata_of(store, "/g") == wanted

    def test_a_file_to_be_created_only(self, store: Store) -> None:
        written = write(store, "/f", Metadata(), create_only=True)
        assert written.metadata == metadata_of(store, "/f") == Metadata()
        with pytest.raises(AlreadyExists):
            write(store, "/f", Metadata({}, None, FULL), create_only=True)
        assert metadata_of(store, "/f") == Metadata()

    @pytest.mark.parametrize("text", [None, b"demo"])
    def test_overwriting_replaces_attributes(self, store: Store, text: bytes | None) -> None:
        write(store, "/f", Metadata({}, None, FULL).with_property("biz_attr", text))
        for newer in (
            Metadata({}, None, Attributes(uid=7)),
            Metadata({"biz_attr": b"x"}, None, Attributes(uid=8)),
            Metadata({}, None, Attributes(mode=0)),
        ):
            write(store, "/f", newer)
            assert metadata_of(store, "/f") == newer
        write(store, "/f", Metadata())
        if not self.overwrite_keeps_headers:
            assert metadata_of(store, "/f") == Metadata()

    # One name that is written over again, on every store that inherits the test.
    @settings(
        max_examples=25,
        database=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
    )
    @given(
        attributes=any_attributes,
        later=any_attributes,
        text=st.none() | st.sampled_from([b"demo", b'{"cosfs":1,"mode":33188}', b"\xff"]),
    )
    def test_any_attributes_come_back(
        self, store: Store, attributes: Attributes, later: Attributes, text: bytes | None
    ) -> None:
        wanted = Metadata({}, None, attributes).with_property("biz_attr", text)
        if not self.overwrite_keeps_headers:
            write(store, "/f", wanted)
            assert metadata_of(store, "/f") == wanted
        else:
            write(store, "/f", Metadata({"biz_attr": b"x"}, None, later))
        wanted = replace(wanted, attributes=later)
        store.set_metadata("/f", store.stat_file("/f"), wanted)
        assert metadata_of(store, "/f") == wanted
        held = Metadata({}, None, attributes)
        store.set_metadata("/", Entry(Kind.FOLDER), held)
        assert attributes == Attributes() or mark_of(store, "/") == held

    def test_setting_attributes(self, store: Store) -> None:
        write(store, "/f", Metadata())
        states = [Metadata({}, None, attributes) for attributes in SOME]
        states += [state.with_property("biz_attr", b"demo") for state in states]
        states += [replace(state, properties=PROPERTIES) for state in states[:3]]
        states += [states[0], states[-1], Metadata(), states[9], Metadata({"biz_attr": b"x"})]
        for state in states:
            store.set_metadata("/f", store.stat_file("/f"), state)
            assert metadata_of(store, "/f") == state
        for state in states:
            store.set_metadata("/f", Entry(Kind.FILE), state)
            assert metadata_of(store, "/f") == state

    @pytest.mark.parametrize(
        "text",
        [
            b'{"cosfs":1}',
            b'{"cosfs":1,"mode":33188}',
            b'{"cosfs":1,"uid":0,"nonce":"00112233445566778899aabbccddeeff"}',
            b'{"cosfs":1,"mtime":"1.000000000"}',
            b'{"cosfs":2,"mode":33188}',
            b'{"cosfs": 1, "mode": 33188}',
            b'{"cosfs":1,"mode":-1}',
            b'{"cosfs":1,"mode":true}',
            b'{"cosfs":1,' + b"[" * 900,
        ],
    )
    def test_a_text_that_looks_like_attributes_survives(self, store: Store, text: bytes) -> None:
        wanted = Metadata({"biz_attr": text})
        write(store, "/f", wanted)
        assert metadata_of(store, "/f") == wanted
        wanted = wanted.with_attributes(FULL)
        store.set_metadata("/f", store.stat_file("/f"), wanted)
        assert metadata_of(store, "/f") == wanted
        store.make_folder("/d", biz_attr=text)
        found = store.stat_folder("/d").metadata
        assert found is not None and found.properties == {"biz_attr": text}

    # Marks.

    @pytest.mark.parametrize("folder", ["/", "/d", "/d/e"])
    def test_a_mark(self, store: Store, folder: str) -> None:
        assert not is_marked(store, folder)
        with pytest.raises(NotFound):
            store.stat_mark(folder)
        assert store.mark_folder(folder)
        assert is_marked(store, folder)
        assert mark_of(store, folder) == Metadata()
        assert not store.mark_folder(folder, Metadata({}, None, FULL))
        assert mark_of(store, folder) == Metadata()

    @pytest.mark.parametrize("folder", ["/", "/d"])
    def test_a_mark_made_with_what_it_holds(self, store: Store, folder: str) -> None:
        held = Metadata(PROPERTIES, None, FULL)
        assert store.mark_folder(folder, held.with_property("biz_attr", b"not in the mark"))
        assert mark_of(store, folder) == held
        assert not store.mark_folder(folder)
        assert mark_of(store, folder) == held

    def test_a_mark_among_names(self, store: Store) -> None:
        store.make_folder("/d")
        for name in ("-", ".a", "a", "z"):
            write(store, f"/d/{name}", Metadata())
        store.mark_folder("/d")
        write(store, "/d/.cosfs", Metadata())
        names: set[str] = set()
        cursor: str | None = ""
        pages = 0
        while cursor is not None:
            page = store.list_page("/d", cursor=cursor)
            names |= set(page.entries)
            pages += page.marked
            cursor = page.cursor
        assert names == {"-", ".a", "a", "z"}
        assert pages == 1
        assert not store.list_page("/d", prefix="a").marked

    def test_a_folder_that_has_a_mark_alone_is_implied(self, store: Store) -> None:
        store.mark_folder("/d")
        [(name, listed)] = store.list_page("/").entries.items()
        assert name == "d" and listed.is_folder and listed.implied == self.implied_is_listed
        with pytest.raises(NotFound):
            store.stat_folder("/d")
        with pytest.raises(NotFound) if self.looks_for_folders_at_once else nullcontext():
            store.delete_folder("/d", marked=True)
        assert not store.list_page("/").entries

    def test_a_mark_goes_with_its_folder(self, store: Store) -> None:
        store.make_folder("/d")
        store.mark_folder("/d", Metadata({}, None, FULL))
        store.delete_folder("/d", marked=True)
        assert not store.list_page("/").entries
        store.make_folder("/d")
        assert not is_marked(store, "/d")
        # Somebody else has taken the mark away.
        store.delete_folder("/d", marked=True)
        assert not store.list_page("/").entries

    def test_a_mark_that_stays_keeps_the_folder(self, store: Store) -> None:
        if self.refuses_full_folders:
            pytest.skip("this server refuses")
        store.make_folder("/d")
        store.mark_folder("/d")
        store.delete_folder("/d", marked=False)
        assert set(store.list_page("/").entries) == {"d"}
        assert is_marked(store, "/d")

    def test_a_mark_survives_what_happens_to_files(self, store: Store) -> None:
        held = Metadata({"comment": b"x"}, None, FULL)
        store.mark_folder("/d", held)
        write(store, "/d/f", held)
        store.move_file("/d/f", "/d/g", overwrite=False)
        store.move_file("/d/g", "/h", overwrite=False)
        write(store, "/d/f", Metadata())
        store.delete_file("/d/f")
        assert is_marked(store, "/d") and not is_marked(store, "/")
        assert mark_of(store, "/d") == held

    # What folders have.

    def test_metadata_of_a_folder(self, store: Store) -> None:
        store.make_folder("/d")
        known = Metadata()
        for wanted in (
            Metadata({"biz_attr": b"a folder"}),
            Metadata({"biz_attr": b"\xff"}, None, FULL),
            Metadata(PROPERTIES, None, FULL),
            Metadata({**PROPERTIES, "biz_attr": "备注".encode()}),
            Metadata({"comment": b"left"}, None, Attributes(uid=1)),
            Metadata(),
        ):
            entry = replace(store.stat_folder("/d"), metadata=known)
            store.set_metadata("/d", entry, wanted)
            text = wanted.properties.get("biz_attr")
            found = store.stat_folder("/d").metadata
            assert found == Metadata({} if text is None else {"biz_attr": text}, {})
            held = wanted.with_property("biz_attr", None)
            if known != Metadata():
                assert mark_of(store, "/d") == held
            else:
                assert not is_marked(store, "/d")
            known = wanted
        store.delete_folder("/d", marked=True)
        with pytest.raises(NotFound):
            late = Metadata({"biz_attr": b"late"}, None, FULL)
            store.set_metadata("/d", Entry(Kind.FOLDER), late)
        assert not store.list_page("/").entries

    def test_setting_a_folder_without_knowing(self, store: Store) -> None:
        store.make_folder("/d", biz_attr=b"old")
        store.set_metadata("/d", Entry(Kind.FOLDER), Metadata())
        assert not is_marked(store, "/d")
        assert store.stat_folder("/d").metadata == Metadata({}, {})
        for wanted in (Metadata(PROPERTIES, None, FULL), Metadata({}, None, FULL), Metadata()):
            store.set_metadata("/d", Entry(Kind.FOLDER), wanted)
            assert mark_of(store, "/d") == wanted

    def test_the_text_of_a_folder_leaves_its_mark_alone(self, store: Store) -> None:
        store.make_folder("/d")
        store.mark_folder("/d", Metadata({}, None, FULL))
        # What the mark holds is not known, and is the same before and after.
        entry = store.stat_folder("/d")
        store.set_metadata("/d", entry, Metadata({"biz_attr": b"x"}))
        assert mark_of(store, "/d") == Metadata({}, None, FULL)

    def test_attributes_of_the_root(self, store: Store) -> None:
        root = store.stat_folder("/")
        store.set_metadata("/", root, Metadata({"comment": b"x"}, None, FULL))
        assert mark_of(store, "/") == Metadata({"comment": b"x"}, None, FULL)
        assert is_marked(store, "/")
        assert store.stat_folder("/").metadata == Metadata({}, {})
        assert not store.list_page("/").entries

    def test_an_implied_folder_becomes_real(self, store: Store) -> None:
        write(store, "/d/f", Metadata())
        implied = Entry(Kind.FOLDER, implied=True, metadata=Metadata())
        store.set_metadata("/d", implied, Metadata({}, None, FULL))
        assert store.stat_folder("/d").metadata == Metadata({}, {})
        assert mark_of(store, "/d") == Metadata({}, None, FULL)

    def test_a_folder_made_with_its_text(self, store: Store) -> None:
        made = store.make_folder("/d", biz_attr="备注".encode())
        found = store.stat_folder("/d").metadata
        assert made.metadata == found == Metadata({"biz_attr": "备注".encode()}, {})
        with pytest.raises(AlreadyExists):
            store.make_folder("/d", biz_attr=b"other")
        assert store.stat_folder("/d").metadata == found

    def test_too_much_for_a_folder(self, store: Store) -> None:
        long = Metadata({"comment": b"x" * 2000}, None, FULL)
        store.make_folder("/d")
        with pytest.raises(AttributesTooLarge):
            store.set_metadata("/d", store.stat_folder("/d"), long.with_property("biz_attr", b"x"))
        with pytest.raises(AttributesTooLarge):
            store.mark_folder("/d", long)
        with pytest.raises(AttributesTooLarge):
            store.make_folder("/e", biz_attr=b"x" * 2000)
        assert store.stat_folder("/d").metadata == Metadata({}, {})
        assert not is_marked(store, "/d")
        assert set(store.list_page("/").entries) == {"d"}
