"""What the store on the JSON API asks of its client, and what it makes of the answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest

from cosfs.config import DataOptions
from cosfs.errors import (
    AccessDenied,
    AlreadyExists,
    AttributesTooLarge,
    BucketNotFound,
    NotFound,
    NotSupported,
    ObjectChanged,
    UnfinishedOther,
    UnfinishedUpload,
)
from cosfs.jsonapi.bucket import BucketClient
from cosfs.jsonapi.replies import Listing
from cosfs.model import BytesSource, Entry, Kind, Metadata, Version
from cosfs.store.json_store import JsonStore
from cosfs.store.names import RAW
from tests.fakeclock import FakeClock
from tests.unit.store_fakes import LARGE, FakeBucket, always, listed


@pytest.fixture
def bucket() -> FakeBucket:
    return FakeBucket()


@pytest.fixture
def store(bucket: FakeBucket) -> JsonStore:
    return JsonStore(
        cast(BucketClient, bucket),
        prefix="p",
        data=DataOptions(parallel=2),
        clock=FakeClock(1000.9),
    )


def write(store: JsonStore, path: str, data: bytes, **properties: bytes) -> Entry:
    given = {name.replace("x_cos_meta_", "x-cos-meta-"): v for name, v in properties.items()}
    return store.write_file(path, BytesSource(data), metadata=Metadata(given))


# What an object is.


def test_a_stat_gives_entry_properties_and_facts(store: JsonStore, bucket: FakeBucket) -> None:
    version = bucket.put("p/f", b"123", biz_attr="demo", forbid=2)
    entry = store.stat_file("/f")
    assert entry.version == version
    assert (entry.mtime_ns, entry.ctime_ns) == (60 * 10**9, 50 * 10**9)
    assert entry.metadata is not None
    assert entry.metadata.properties == {"biz_attr": b"demo"}
    assert entry.metadata.facts == {
        "cos.sha": version.digest.encode(),
        "cos.access_url": b"http://cdn/f",
        "cos.source_url": b"http://origin/f",
        "cos.ctime": b"50",
        "cos.filelen": b"3",
        "cos.slicesize": b"0",
        "cos.forbid": b"2",
    }


def test_an_unfinished_upload_is_no_file(store: JsonStore, bucket: FakeBucket) -> None:
    bucket.put("p/f", b"123", filelen=1)
    with pytest.raises(NotFound, match="unfinished"):
        store.stat_file("/f")
    bucket.fail["download"] = always(UnfinishedUpload("unfinished"))
    with pytest.raises(NotFound, match="unfinished"):
        store.read_range("/f", 0, memoryview(bytearray(1)), Version("a" * 40, 3))


def test_the_root_always_exists(store: JsonStore, bucket: FakeBucket) -> None:
    assert store.stat_folder("/").implied
    bucket.folders["p/"] = "text"
    root = store.stat_folder("/")
    assert root.metadata is not None and root.metadata.properties == {"biz_attr": b"text"}
    with pytest.raises(AlreadyExists):
        store.make_folder("/")
    bucket.fail["stat_folder"] = always(BucketNotFound("missing"))
    with pytest.raises(BucketNotFound):
        store.stat_folder("/")


def test_probing_stats_the_root_of_the_bucket(store: JsonStore, bucket: FakeBucket) -> None:
    store.probe()
    assert bucket.calls == [("stat_folder", "")]
    for error in (NotFound("missing"), BucketNotFound("missing")):
        bucket.fail["stat_folder"] = always(error)
        with pytest.raises(BucketNotFound):
            store.probe()


# Listings.


def test_what_is_not_shown(
    store: JsonStore,
    bucket: FakeBucket,
    caplog: pytest.LogCaptureFixture,
    expect_log: Callable[[str], None],
) -> None:
    for reason in ("cannot be a name", "not finished", "folder has the same name"):
        expect_log(f"is not shown: .*{reason}")
    bucket.listing = Listing(
        (
            listed("."),
            listed("x" * 300),
            listed("‛C3‛A9"),
            listed("half", filelen=1),
            listed("both"),
            listed("both", is_folder=True),
            listed(".cosfs", is_folder=True, mtime=0, ctime=0),
            listed(".cosfs-work", is_folder=True),
            listed("raw?"),
        ),
        "next",
        False,
    )
    page = store.list_page("/")
    assert set(page.entries) == {"both", "raw‛?"}
    assert page.entries["both"].is_folder
    assert page.cursor == "next"
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 5
    assert "'p/half' is not shown: its upload is not finished" in messages
    assert "'p/both' is not shown: a folder has the same name" in messages
    store.list_page("/")
    assert len(caplog.records) == 5  # each is said once
    assert set(store.list_page("/d").entries) == {"both", "raw‛?", ".cosfs-work"}


def test_a_page_may_be_empty_although_more_follows(store: JsonStore, bucket: FakeBucket) -> None:
    bucket.listing = Listing((), "next", False)
    assert store.list_page("/").cursor == "next"
    assert store.list_page("/", cursor="next").cursor == "next"
    assert bucket.sent[-1] == {"prefix": "", "context": "next"}
    bucket.listing = Listing((), "ignored", True)
    assert store.list_page("/").cursor is None


def test_a_prefix_is_spelt_as_far_as_it_is_safe(store: JsonStore, bucket: FakeBucket) -> None:
    bucket.listing = Listing((listed("a b"), listed("a␠"), listed("ab")), "", True)
    assert set(store.list_page("/", prefix="a ").entries) == {"a b", "a "}
    assert bucket.sent[-1]["prefix"] == "a"
    store.list_page("/", prefix="12:30")
    assert bucket.sent[-1]["prefix"] == "12：30"


def test_raw_names(bucket: FakeBucket) -> None:
    store = JsonStore(cast(BucketClient, bucket), names=RAW)
    write(store, "/12:30?", b"1")
    assert set(bucket.files) == {"12:30?"}


# Reading.


def read(store: JsonStore, version: Version) -> bytes:
    into = bytearray(version.size)
    store.read_range("/f", 0, memoryview(into), version)
    return bytes(into)


def test_a_digest_as_mark_costs_one_request(store: JsonStore, bucket: FakeBucket) -> None:
    version = bucket.put("p/f", b"123")
    bucket.etag = lambda key: bucket.files[key].sha.upper()
    assert read(store, version) == b"123"
    assert bucket.methods() == ["download"]


def test_another_mark_is_looked_up_once(store: JsonStore, bucket: FakeBucket) -> None:
    version = bucket.put("p/f", b"123")
    bucket.etag = lambda key: "mark-1"
    assert read(store, version) == b"123"
    assert bucket.methods() == ["download", "stat_file"]
    assert read(store, version) == b"123"
    assert bucket.methods() == ["download"]
    bucket.etag = lambda key: "mark-2"
    bucket.put("p/f", b"456")
    with pytest.raises(ObjectChanged):
        read(store, version)
    assert bucket.methods() == ["download", "stat_file"]


def test_without_a_mark_the_size_decides(store: JsonStore, bucket: FakeBucket) -> None:
    version = bucket.put("p/f", b"123")
    bucket.etag = lambda key: ""
    assert read(store, version) == b"123"
    assert read(store, Version("", 3)) == b"123"
    for other in (b"1234", b"12"):
        bucket.put("p/f", other)
        with pytest.raises(ObjectChanged):
            read(store, version)


# Writing.


def test_a_file_costs_one_request(store: JsonStore, bucket: FakeBucket) -> None:
    entry = write(store, "/f", b"123", biz_attr=b"demo")
    assert bucket.calls == [("upload", "p/f")]
    assert entry.version == Version(hashlib.sha1(b"123").hexdigest(), 3)
    assert entry.mtime_ns == 1000 * 10**9
    assert entry.metadata == Metadata({"biz_attr": b"demo"})
    assert bucket.files["p/f"].biz_attr == "demo"


def test_headers_cost_one_more(store: JsonStore, bucket: FakeBucket) -> None:
    write(store, "/f", b"1", biz_attr=b"demo", x_cos_meta_a=b"1", content_type=b"a/b")
    assert bucket.methods() == ["upload", "update_file"]
    headers = {"x-cos-meta-a": "1", "Content-Type": "a/b"}
    assert bucket.sent == [{"custom_headers": headers, "authority": "eInvalid"}]
    write(store, "/f", b"1", authority=b"eWRPrivate")
    assert bucket.sent[1:] == [{"custom_headers": {}, "authority": "eWRPrivate"}]


def test_too_much_metadata_sends_nothing(store: JsonStore, bucket: FakeBucket) -> None:
    long = b"x" * 2000
    with pytest.raises(AttributesTooLarge):
        store.set_metadata("/f", Entry(Kind.FILE), Metadata({"biz_attr": long}))
    assert bucket.methods() == []
    with pytest.raises(AttributesTooLarge):
        write(store, "/f", b"1", biz_attr=long)
    bucket.put("p/f", b"1", biz_attr="x" * 1999)
    with pytest.raises(AttributesTooLarge):
        write(store, "/f", b"1", biz_attr=long)
    assert bucket.methods() == ["stat_file", "stat_file"]


def test_as_much_metadata_as_the_server_holds_is_kept(
    store: JsonStore, bucket: FakeBucket
) -> None:
    long = "x" * 2000
    bucket.put("p/f", b"1", biz_attr=long, custom_headers={"x-cos-meta-a": long * 3})
    entry = store.stat_file("/f")
    assert entry.metadata is not None
    bucket.methods()
    store.write_file("/f", BytesSource(b"2"), metadata=entry.metadata)
    assert bucket.methods() == ["stat_file", "upload", "update_file"]
    store.set_metadata("/f", entry, entry.metadata.with_property("biz_attr", b"short"))
    assert bucket.files["p/f"].biz_attr == "short"
    assert bucket.files["p/f"].custom_headers == {"x-cos-meta-a": long * 3}


def test_headers_that_fail_say_that_the_content_is_stored(
    store: JsonStore, bucket: FakeBucket
) -> None:
    bucket.fail["update_file"] = always(AccessDenied("not allowed"))
    with pytest.raises(AccessDenied, match="content is stored.*not allowed"):
        write(store, "/f", b"1", x_cos_meta_a=b"1")
    assert bucket.data == {"p/f": b"1"}


def test_an_unfinished_upload_in_the_way_is_removed(
    store: JsonStore, bucket: FakeBucket, expect_log: Callable[[str], None]
) -> None:
    expect_log("'p/f' was occupied by an unfinished upload")
    expect_log("'p/g' was occupied by an unfinished upload")
    bucket.put("p/f", b"123", filelen=1)
    write(store, "/f", b"new")
    assert bucket.methods() == ["upload", "stat_file", "delete_file", "upload"]
    assert bucket.data == {"p/f": b"new"}
    bucket.put("p/g", b"123", filelen=1)
    store.move_file("/f", "/g", overwrite=False)
    assert bucket.data == {"p/g": b"new"}


def test_one_behind_a_readable_file_stays(store: JsonStore, bucket: FakeBucket) -> None:
    bucket.put("p/f", b"old")
    bucket.fail["upload"] = always(UnfinishedOther("occupied"))
    with pytest.raises(UnfinishedOther):
        write(store, "/f", b"new")
    assert bucket.methods() == ["upload", "stat_file", "slice_list"]
    assert bucket.data == {"p/f": b"old"}


def test_one_that_is_gone_meanwhile(store: JsonStore, bucket: FakeBucket) -> None:
    errors = [UnfinishedOther("occupied")]
    bucket.fail["upload"] = lambda key: errors.pop() if errors else None
    write(store, "/f", b"new")
    assert bucket.methods() == ["upload", "stat_file", "upload"]


# Writing large files.


def test_a_large_file_is_staged_and_moved(store: JsonStore, bucket: FakeBucket) -> None:
    given = Metadata({"biz_attr": b"demo", "x-cos-meta-a": b"1"})
    entry = store.write_file("/d/f", LARGE, metadata=given)
    methods = bucket.methods()
    assert methods[0] == "slice_init"
    assert methods[-3:] == ["slice_finish", "update_file", "move_file"]
    assert methods.count("slice_data") == 21
    assert len(methods) == 21 + 4
    assert set(bucket.data) == {"p/d/f"}
    assert bucket.data["p/d/f"] == LARGE.data
    assert entry.digest == hashlib.sha1(LARGE.data).hexdigest()
    assert store.stat_file("/d/f").metadata == replace_facts(entry.metadata, store, "/d/f")


def replace_facts(metadata: Metadata | None, store: JsonStore, path: str) -> Metadata:
    assert metadata is not None
    found = store.stat_file(path).metadata
    assert found is not None
    return Metadata(metadata.properties, found.facts)


@pytest.mark.parametrize("method", ["slice_data", "slice_finish", "update_file", "move_file"])
def test_a_failure_leaves_the_old_content_and_no_staged_one(
    store: JsonStore, bucket: FakeBucket, method: str
) -> None:
    bucket.put("p/f", b"old")
    bucket.fail[method] = always(AccessDenied("not allowed"))
    with pytest.raises(AccessDenied):
        store.write_file("/f", LARGE, metadata=Metadata({"x-cos-meta-a": b"1"}))
    assert bucket.data == {"p/f": b"old"}


def test_a_staged_file_that_cannot_be_removed_is_named(
    store: JsonStore,
    bucket: FakeBucket,
    caplog: pytest.LogCaptureFixture,
    expect_log: Callable[[str], None],
) -> None:
    expect_log("is left over on the server: not allowed either")
    bucket.fail["move_file"] = always(AccessDenied("not allowed"))
    bucket.fail["delete_file"] = always(AccessDenied("not allowed either"))
    with pytest.raises(AccessDenied, match="not allowed$"):
        store.write_file("/f", LARGE, metadata=Metadata())
    [left] = bucket.data
    assert left.startswith("p/.cosfs-work/staging/")
    assert left in caplog.text


def test_create_only_of_a_large_file(store: JsonStore, bucket: FakeBucket) -> None:
    bucket.put("p/f", b"old")
    with pytest.raises(AlreadyExists):
        store.write_file("/f", LARGE, metadata=Metadata(), create_only=True)
    assert bucket.data == {"p/f": b"old"}


# Metadata.


def set_from(
    store: JsonStore, old: Mapping[str, bytes] | None, new: Mapping[str, bytes]
) -> None:
    entry = Entry(Kind.FILE, metadata=None if old is None else Metadata(old))
    store.set_metadata("/f", entry, Metadata(new))


@pytest.mark.parametrize(
    ("old", "new", "sent"),
    [
        ({}, {"biz_attr": b"x"}, {"biz_attr": "x"}),
        ({"biz_attr": b"x"}, {}, {"biz_attr": ""}),
        (
            {"biz_attr": b"x", "x-cos-meta-a": b"1", "content_type": b"a/b"},
            {"biz_attr": b"x", "x-cos-meta-a": b"2", "content_type": b"a/b"},
            {"custom_headers": {"x-cos-meta-a": "2", "Content-Type": "a/b"}},
        ),
        ({"x-cos-meta-a": b"1"}, {}, {"custom_headers": {}}),
        ({"authority": b"eWRPrivate"}, {}, {"authority": "eInvalid"}),
        (
            None,
            {"biz_attr": b"x"},
            {"biz_attr": "x", "authority": "eInvalid", "custom_headers": {}},
        ),
    ],
)
def test_what_differs_is_sent(
    store: JsonStore,
    bucket: FakeBucket,
    old: dict[str, bytes] | None,
    new: dict[str, bytes],
    sent: dict[str, Any],
) -> None:
    bucket.put("p/f", b"1")
    set_from(store, old, new)
    nothing = {"biz_attr": None, "authority": None, "custom_headers": None}
    assert bucket.sent == [{**nothing, **sent}]


def test_nothing_is_sent_when_nothing_differs(store: JsonStore, bucket: FakeBucket) -> None:
    same = {"biz_attr": b"x", "x-cos-meta-a": b"", "comment": b"\xff"}
    set_from(store, same, {**same, "authority": b"eInvalid"})
    assert bucket.calls == []


FOLDER = Entry(Kind.FOLDER, metadata=Metadata())
IMPLIED = Entry(Kind.FOLDER, implied=True, metadata=Metadata())
DEMO = Metadata({"biz_attr": b"demo"})


def test_the_text_of_a_folder(store: JsonStore, bucket: FakeBucket) -> None:
    bucket.folders["p/d/"] = ""
    store.set_metadata("/d", FOLDER, DEMO)
    assert bucket.folders == {"p/d/": "demo"}
    assert bucket.methods() == ["update_folder"]


def test_an_implied_folder_becomes_real(store: JsonStore, bucket: FakeBucket) -> None:
    store.set_metadata("/d", IMPLIED, DEMO)
    assert bucket.folders == {"p/d/": "demo"}
    assert bucket.methods() == ["create_folder"]
    bucket.folders["p/d/"] = "of another"
    store.set_metadata("/d", IMPLIED, DEMO)
    assert bucket.folders == {"p/d/": "demo"}
    assert bucket.methods() == ["create_folder", "update_folder"]


def test_a_folder_that_is_implied_without_looking_so(store: JsonStore, bucket: FakeBucket) -> None:
    bucket.listing = Listing((listed("f"),), "", True)
    store.set_metadata("/d", FOLDER, DEMO)
    assert bucket.folders == {"p/d/": "demo"}
    assert bucket.methods() == ["update_folder", "list_folder", "create_folder"]
    bucket.listing = Listing((), "", True)
    with pytest.raises(NotFound):
        store.set_metadata("/gone", FOLDER, DEMO)
    assert set(bucket.folders) == {"p/d/"}


def test_the_root_of_a_bucket_has_no_text(bucket: FakeBucket) -> None:
    store = JsonStore(cast(BucketClient, bucket))
    for entry in (FOLDER, Entry(Kind.FOLDER), IMPLIED):
        with pytest.raises(NotSupported):
            store.set_metadata("/", entry, DEMO)
    assert bucket.calls == []
