"""What the store on the JSON API asks of its client for attributes and marks."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from cosfs.errors import (
    AccessDenied,
    AlreadyExists,
    AttributesTooLarge,
    BucketNotFound,
    FolderNotEmpty,
    NameTooLong,
    NotFound,
)
from cosfs.jsonapi.bucket import BucketClient
from cosfs.jsonapi.replies import Listing
from cosfs.model import Attributes, BytesSource, Entry, Kind, Metadata
from cosfs.store.attributes import to_envelope, to_headers
from cosfs.store.json_store import JsonStore
from tests.fakeclock import FakeClock
from tests.unit.store_fakes import LARGE, FakeBucket, always, listed

FULL = Attributes(stat.S_IFREG | 0o600, 1000, 1001, 1_700_000_000_000_000_001, None)
NEWER = replace(FULL, mode=stat.S_IFREG | 0o644)
HEADERS = to_headers(FULL)

OWN = Metadata({}, None, FULL)
PLAIN = Metadata({"biz_attr": b"demo"}, None, FULL)


@pytest.fixture
def bucket() -> FakeBucket:
    return FakeBucket()


@pytest.fixture
def store(bucket: FakeBucket) -> JsonStore:
    return JsonStore(cast(BucketClient, bucket), prefix="p", clock=FakeClock(1000.9))


def write(store: JsonStore, metadata: Metadata, **named: Any) -> Entry:
    return store.write_file("/f", BytesSource(b"1"), metadata=metadata, **named)


# Writing files.


def test_attributes_travel_with_the_content(store: JsonStore, bucket: FakeBucket) -> None:
    entry = write(store, OWN)
    assert bucket.methods() == ["upload"]
    assert bucket.files["p/f"].biz_attr == to_envelope(FULL)
    assert entry.metadata == OWN


def test_beside_a_text_of_the_owner_they_cost_an_update(
    store: JsonStore, bucket: FakeBucket
) -> None:
    write(store, PLAIN.with_property("x-cos-meta-a", b"1"))
    assert bucket.methods() == ["upload", "update_file"]
    assert bucket.files["p/f"].biz_attr == "demo"
    headers = {**HEADERS, "x-cos-meta-a": "1"}
    assert bucket.sent == [{"custom_headers": headers, "authority": "eInvalid"}]


def test_attributes_of_a_large_file(store: JsonStore, bucket: FakeBucket) -> None:
    store.write_file("/f", LARGE, metadata=OWN)
    assert "update_file" not in bucket.methods()
    assert bucket.files["p/f"].biz_attr == to_envelope(FULL)


def test_a_nonce_for_what_is_to_be_created_only(store: JsonStore, bucket: FakeBucket) -> None:
    nonces = set()
    for metadata in (Metadata(), OWN, OWN):
        bucket.files.clear()
        entry = write(store, metadata, create_only=True)
        assert entry.metadata == metadata
        found = store.stat_file("/f").metadata
        assert found is not None and replace(found, facts=None) == metadata
        nonces.add(json.loads(bucket.files["p/f"].biz_attr)["nonce"])
        assert store.stat_file("/f").nonce in nonces
    assert len(nonces) == 3 and all(len(nonce) == 32 for nonce in nonces)
    write(store, PLAIN, create_only=True)
    assert bucket.files["p/f"].biz_attr == "demo"
    write(store, OWN)
    assert "nonce" not in bucket.files["p/f"].biz_attr


# Changing files.


def change(store: JsonStore, old: Metadata | None, new: Metadata) -> None:
    store.set_metadata("/f", Entry(Kind.FILE, metadata=old), new)


@pytest.mark.parametrize(
    ("old", "new", "sent"),
    [
        (Metadata(), OWN, {"biz_attr": to_envelope(FULL)}),
        (OWN, OWN.with_attributes(NEWER), {"biz_attr": to_envelope(NEWER)}),
        # The owner sets a text, and takes it away again.
        (OWN, PLAIN, {"biz_attr": "demo", "custom_headers": HEADERS}),
        (PLAIN, OWN, {"biz_attr": to_envelope(FULL), "custom_headers": {}}),
        (PLAIN, PLAIN.with_attributes(NEWER), {"custom_headers": to_headers(NEWER)}),
        (PLAIN, PLAIN.with_property("biz_attr", b"other"), {"biz_attr": "other"}),
        # What is known as an envelope may be headers of another tool.
        (
            OWN,
            OWN.with_property("x-cos-meta-a", b"1"),
            {"biz_attr": to_envelope(FULL), "custom_headers": {"x-cos-meta-a": "1"}},
        ),
        (OWN, Metadata(), {"biz_attr": "", "custom_headers": {}}),
        (OWN, Metadata({"biz_attr": b"x"}), {"biz_attr": "x", "custom_headers": {}}),
        (OWN, OWN.with_property("authority", b"eWRPrivate"), {"authority": "eWRPrivate"}),
        (PLAIN, Metadata(), {"biz_attr": "", "custom_headers": {}}),
        (
            None,
            OWN,
            {"biz_attr": to_envelope(FULL), "authority": "eInvalid", "custom_headers": {}},
        ),
    ],
)
def test_a_change_is_one_request(
    store: JsonStore, bucket: FakeBucket, old: Metadata | None, new: Metadata, sent: dict[str, Any]
) -> None:
    bucket.put("p/f", b"1")
    change(store, old, new)
    nothing = {"biz_attr": None, "authority": None, "custom_headers": None}
    assert bucket.sent == [{**nothing, **sent}]


def test_what_is_the_same_costs_nothing(store: JsonStore, bucket: FakeBucket) -> None:
    for metadata in (OWN, PLAIN):
        change(store, metadata, metadata.with_property("authority", b"eInvalid"))
    assert bucket.calls == []


def test_a_file_of_another_mount(store: JsonStore, bucket: FakeBucket) -> None:
    theirs = {"x-cos-meta-mode": "33261", "x-cos-meta-mtime": "17", "x-cos-meta-atime": "18"}
    bucket.put("p/f", b"1", custom_headers=theirs)
    entry = store.stat_file("/f")
    assert entry.metadata is not None
    assert entry.metadata.properties == {"x-cos-meta-atime": b"18"}
    assert entry.metadata.attributes == Attributes(mode=33261, mtime_ns=17 * 10**9)
    store.set_metadata("/f", entry, entry.metadata.with_property("comment", b"x"))
    found = store.stat_file("/f").metadata
    assert found is not None and found.attributes == entry.metadata.attributes
    assert found.properties == {"x-cos-meta-atime": b"18", "comment": b"x"}
    cleared = replace(found, attributes=Attributes())
    store.set_metadata("/f", replace(entry, metadata=found), cleared)
    assert store.stat_file("/f").metadata == cleared
    assert set(bucket.files["p/f"].custom_headers) == {
        "x-cos-meta-atime",
        "x-cos-meta-xattr-comment",
    }


def test_attributes_for_which_there_is_no_room(store: JsonStore, bucket: FakeBucket) -> None:
    full = Metadata({f"x-cos-meta-{n}": b"x" * 2000 for n in range(2)})
    bucket.put("p/f", b"1")
    change(store, full, full.with_attributes(FULL))
    bucket.methods()
    with pytest.raises(AttributesTooLarge):
        change(store, full, full.with_attributes(FULL).with_property("biz_attr", b"x"))
    assert bucket.methods() == []


# Marks.

FOLDER = Entry(Kind.FOLDER, metadata=Metadata())
HELD = Metadata({"comment": b"x"}, None, FULL)


def test_where_marks_are(bucket: FakeBucket) -> None:
    for prefix, keys in (("", [".cosfs/", "d/.cosfs/"]), ("p", ["p/.cosfs/", "p/d/.cosfs/"])):
        store = JsonStore(cast(BucketClient, bucket), prefix=prefix)
        for folder in ("/", "/d"):
            assert store.mark_folder(folder)
        assert bucket.calls == [("create_folder", key) for key in keys]
        assert set(bucket.folders) >= set(keys)
        for folder in ("/", "/d"):
            assert not store.mark_folder(folder, HELD)
            assert store.stat_mark(folder) == Metadata({}, {})
        bucket.calls.clear()


def test_a_mark_that_would_have_too_long_a_key(store: JsonStore, bucket: FakeBucket) -> None:
    deep = "/" + "/".join(["x" * 200] * 4) + "/" + "y" * 39
    store.check_path(deep)
    for call in (
        lambda: store.mark_folder(deep),
        lambda: store.stat_mark(deep),
        lambda: store.set_metadata(deep, FOLDER, HELD),
        lambda: store.make_folder(deep),
    ):
        with pytest.raises(NameTooLong):
            call()
    assert bucket.calls == []
    # Somebody else has made it.
    bucket.create_folder(f"p{deep}/")
    store.set_metadata(deep, FOLDER, Metadata({"biz_attr": b"x"}))
    store.delete_folder(deep, marked=False)
    assert bucket.folders == {}


def test_a_mark_in_a_listing(store: JsonStore, bucket: FakeBucket) -> None:
    mark = listed(".cosfs", is_folder=True)
    for entries, prefix, marked in (
        ([mark, listed("f")], "", True),
        ([listed("f")], "", False),
        ([mark], "", True),
        ([listed(".cosfs")], "", False),
        ([mark, listed(".d")], ".", True),
    ):
        bucket.listing = Listing(tuple(entries), "", True)
        page = store.list_page("/d", prefix=prefix)
        assert page.marked == marked
        assert ".cosfs" not in page.entries


def test_what_a_mark_holds_costs_one_request(store: JsonStore, bucket: FakeBucket) -> None:
    bucket.folders = {"p/d/": "", "p/d/.cosfs/": ""}
    store.set_metadata("/d", FOLDER, HELD)
    assert bucket.methods() == ["update_folder"]
    assert bucket.folders["p/d/"] == ""
    assert json.loads(bucket.folders["p/d/.cosfs/"])["properties"] == {"comment": "x"}
    held = replace(FOLDER, metadata=HELD)
    store.set_metadata("/d", held, HELD)
    assert bucket.methods() == []
    store.set_metadata("/d", held, HELD.with_property("biz_attr", b"x"))
    assert bucket.methods() == ["update_folder"]
    store.set_metadata("/d", held, Metadata({"biz_attr": b"y"}))
    assert bucket.methods() == ["update_folder", "update_folder"]
    assert bucket.folders == {"p/d/": "y", "p/d/.cosfs/": ""}


def test_a_mark_that_is_missing_is_made(store: JsonStore, bucket: FakeBucket) -> None:
    bucket.folders = {"p/d/": ""}
    store.set_metadata("/d", FOLDER, HELD)
    assert bucket.methods() == ["update_folder", "create_folder"]
    assert store.stat_mark("/d").attributes == FULL
    del bucket.folders["p/d/.cosfs/"]
    bucket.methods()
    store.set_metadata("/d", replace(FOLDER, metadata=HELD), Metadata())
    assert bucket.methods() == ["update_folder"]
    assert bucket.folders == {"p/d/": ""}


def test_a_mark_that_somebody_makes_meanwhile(store: JsonStore, bucket: FakeBucket) -> None:
    bucket.folders = {"p/d/": "", "p/d/.cosfs/": ""}
    errors = [NotFound("missing")]
    bucket.fail["update_folder"] = lambda key: errors.pop() if errors else None
    store.set_metadata("/d", FOLDER, HELD)
    assert bucket.methods() == ["update_folder", "create_folder", "update_folder"]
    assert store.stat_mark("/d").attributes == FULL


def test_an_implied_folder_becomes_real_first(store: JsonStore, bucket: FakeBucket) -> None:
    store.set_metadata("/d", replace(FOLDER, implied=True), HELD)
    assert bucket.calls == [
        ("create_folder", "p/d/"),
        ("update_folder", "p/d/.cosfs/"),
        ("create_folder", "p/d/.cosfs/"),
    ]
    bucket.calls.clear()
    store.set_metadata("/", replace(FOLDER, implied=True), HELD)
    assert bucket.calls == [("update_folder", "p/.cosfs/"), ("create_folder", "p/.cosfs/")]


def test_the_text_of_a_root_with_a_prefix(store: JsonStore, bucket: FakeBucket) -> None:
    text = Metadata({"biz_attr": b"x"})
    for entry in (store.stat_folder("/"), Entry(Kind.FOLDER)):
        store.set_metadata("/", entry, text)
        assert bucket.folders == {"p/": "x"}
        assert store.stat_folder("/").metadata == Metadata({"biz_attr": b"x"}, {})
        bucket.folders.clear()
    store.set_metadata("/", Entry(Kind.FOLDER), Metadata())
    assert bucket.folders == {}


def test_deleting_a_marked_folder(store: JsonStore, bucket: FakeBucket) -> None:
    bucket.folders = {"p/d/": "", "p/d/.cosfs/": ""}
    store.delete_folder("/d", marked=True)
    assert bucket.calls == [("delete_folder", "p/d/.cosfs/"), ("delete_folder", "p/d/")]
    assert bucket.folders == {}
    bucket.folders = {"p/d/": ""}
    store.delete_folder("/d", marked=True)
    assert bucket.folders == {}
    bucket.fail["delete_folder"] = always(BucketNotFound("missing"))
    with pytest.raises(BucketNotFound):
        store.delete_folder("/d", marked=True)


@pytest.mark.parametrize("fails", [False, True])
def test_a_folder_that_is_filled_meanwhile_is_marked_again(
    store: JsonStore, bucket: FakeBucket, fails: bool, expect_log: Callable[[str], None]
) -> None:
    bucket.folders = {"p/d/": "", "p/d/.cosfs/": "x"}
    full = FolderNotEmpty("not empty")
    bucket.fail["delete_folder"] = lambda key: full if key == "p/d/" else None
    if fails:
        expect_log("'/d' could not be marked again, and lost .*: not allowed")
        bucket.fail["create_folder"] = always(AccessDenied("not allowed"))
    with pytest.raises(FolderNotEmpty):
        store.delete_folder("/d", marked=True, holding=Metadata(attributes=Attributes(uid=7)))
    held = {} if fails else {"p/d/.cosfs/": '{"cosfs":1,"uid":7}'}
    assert bucket.folders == {"p/d/": "", **held}
    bucket.calls.clear()
    with pytest.raises(FolderNotEmpty):
        store.delete_folder("/d", marked=False)
    assert bucket.methods() == ["delete_folder"]


def test_a_folder_made_with_its_text(store: JsonStore, bucket: FakeBucket) -> None:
    made = store.make_folder("/d", biz_attr=b"\xff")
    assert bucket.methods() == ["create_folder"]
    assert bucket.folders == {"p/d/": "=?cosfs?B?/w==?="}
    assert made.metadata == Metadata({"biz_attr": b"\xff"}, {})
    assert made.mtime_ns == made.ctime_ns == 1000 * 10**9
    with pytest.raises(AttributesTooLarge):
        store.make_folder("/e", biz_attr=b"x" * 1025)
    with pytest.raises(AlreadyExists):
        store.make_folder("/d")
    assert bucket.methods() == ["create_folder"]
