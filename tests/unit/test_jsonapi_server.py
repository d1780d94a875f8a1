"""The client against the local COS server: every operation, and every operation failing."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cosfs import errors
from cosfs.config import Account, Credentials, Endpoints, NetworkOptions
from cosfs.errors import StoreError
from cosfs.jsonapi.bucket import BucketClient
from cosfs.jsonapi.client import JsonApi
from cosfs.jsonapi.replies import SliceSession, UploadedFile
from cosfs.jsonapi.slices import SliceUpload, digests
from cosfs.model import BytesSource
from cosfs.server.running import LocalServer
from tests.fakeclock import FakeClock, SleeplessClock

MIB = 1 << 20
NAMES = ["plain", "测试 目录/我的 文件 (1).txt", "a+b=c&d~e!@#$%^'(),;[]{}.txt", 'q?*:|\\<>"', "%41", "é/ü"]


def connect(server: LocalServer, *, timeout_s: float = 20.0, **change: Any) -> JsonApi:
    values = {"appid": server.appid, "secret_id": server.secret_id, "secret_key": server.secret_key}
    values.update(change)
    account = Account(
        Credentials(**values), Endpoints.of_region("sh", api=server.url, download=server.url)
    )
    return JsonApi(account, NetworkOptions(timeout_s), clock=SleeplessClock())


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with LocalServer(buckets=["mybucket"]) as running:
        yield running


@pytest.fixture
def bucket(server: LocalServer, request: pytest.FixtureRequest) -> Iterator[BucketClient]:
    server.clear_faults()
    api = connect(server)
    yield api.bucket("mybucket")
    api.close()
    server.clear_faults()


@pytest.fixture
def base(request: pytest.FixtureRequest) -> str:
    """A folder of its own for each test."""
    return hashlib.sha1(request.node.name.encode()).hexdigest()[:12] + "/"


def sha_of(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def put(bucket: BucketClient, key: str, data: bytes, **options: Any) -> UploadedFile:
    options.setdefault("insert_only", True)
    return bucket.upload(key, BytesSource(data), sha=sha_of(data), **options)


def get(bucket: BucketClient, key: str, size: int, offset: int = 0) -> bytes:
    buffer = bytearray(size)
    bucket.download(key, offset, memoryview(buffer))
    return bytes(buffer)


def exists(bucket: BucketClient, key: str) -> bool:
    try:
        bucket.stat_folder(key) if key.endswith("/") else bucket.stat_file(key)
    except errors.NotFound:
        return False
    return True


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_any_name(bucket: BucketClient, base: str, name: str) -> None:
    key, data = base + name, name.encode()
    put(bucket, key, data, biz_attr="备注")
    info = bucket.stat_file(key)
    assert (info.filesize, info.sha, info.biz_attr) == (len(data), sha_of(data), "备注")
    assert info.is_complete and info.authority == "eInvalid" and info.custom_headers == {}
    assert get(bucket, key, len(data)) == data
    folder, _, last = name.rpartition("/")
    listing = bucket.list_folder(base + folder + "/" if folder else base)
    assert [entry.name for entry in listing.entries] == [last]
    bucket.copy_file(key, base + "copy", overwrite=False)
    bucket.move_file(key, base + "moved" + last, overwrite=False)
    assert not exists(bucket, key)
    assert get(bucket, base + "copy", len(data)) == get(bucket, base + "moved" + last, len(data))
    bucket.delete_file(base + "copy")
    assert not exists(bucket, base + "copy")


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_any_name(bucket: BucketClient, base: str, name: str) -> None:
    key = f"{base}{name}/"
    bucket.create_folder(key, "一")
    assert bucket.stat_folder(key).biz_attr == "一"
    bucket.update_folder(key, "二")
    assert bucket.stat_folder(key).biz_attr == "二"
    assert bucket.list_folder(key).entries == ()
    bucket.delete_folder(key)
    assert not exists(bucket, key)


def test_the_root_is_a_folder(bucket: BucketClient) -> None:
    assert bucket.stat_folder("").mtime > 0


def test_metadata(bucket: BucketClient, base: str) -> None:
    key = base + "f"
    put(bucket, key, b"x")
    headers = {"Content-Type": "text/x", "x-cos-meta-a": "1", "Cache-Control": "no-cache"}
    bucket.update_file(key, biz_attr="b", authority="eWRPrivate", custom_headers=headers)
    info = bucket.stat_file(key)
    assert (info.biz_attr, info.authority, info.custom_headers) == ("b", "eWRPrivate", headers)
    found = bucket.head(key)
    assert found.total_size == 1 and found.etag == sha_of(b"x")
    assert (found.headers["content-type"], found.headers["x-cos-meta-a"]) == ("text/x", "1")
    bucket.update_file(key, custom_headers={})
    assert bucket.stat_file(key).custom_headers == {}


def test_a_listing_page_by_page(bucket: BucketClient, base: str) -> None:
    names = [f"n{number:02}" for number in range(25)]
    for name in names:
        put(bucket, base + name, b"")
    bucket.create_folder(base + "sub/")
    put(bucket, base + "sub/deep", b"")
    context, found, pages = "", list[str](), 0
    while True:
        page = bucket.list_folder(base, context=context, num=10)
        found += [entry.name for entry in page.entries]
        pages += 1
        if page.listover:
            break
        context = page.context
    assert (found, pages) == ([*names, "sub"], 3)
    tens = bucket.list_folder(base, prefix="n1").entries
    assert [entry.name for entry in tens] == names[10:20]
    everything = bucket.list_folder(base, delimiter="").entries
    assert {"sub", "sub/deep"} <= {entry.name for entry in everything}
    assert bucket.list_folder(base + "nothing/").listover


def test_a_server_with_small_pages() -> None:
    with LocalServer(page_size=199) as server:
        api = connect(server)
        bucket = api.bucket("mybucket")
        put(bucket, "a", b"")
        server.reset_stats()
        assert bucket.list_folder("").listover and bucket.list_folder("").listover
        assert server.stats()["requests"]["by_op"]["list"] == 3
        api.close()


def test_ranges(bucket: BucketClient, base: str) -> None:
    data = os.urandom(3 * MIB)
    put(bucket, base + "f", data)
    for offset, size in ((0, 1), (0, len(data)), (len(data) - 1, 1), (12345, 2 * MIB)):
        assert get(bucket, base + "f", size, offset) == data[offset : offset + size]
    for offset, size in ((len(data), 1), (len(data) - 1, 2), (10 * MIB, 5)):
        with pytest.raises(errors.RangeNotSatisfiable):
            get(bucket, base + "f", size, offset)


REFUSALS: list[tuple[str, type[StoreError], Callable[[BucketClient, str], object]]] = [
    ("stat", errors.NotFound, lambda b, base: b.stat_file(base + "no")),
    ("stat folder", errors.NotFound, lambda b, base: b.stat_folder(base + "no/")),
    ("stat virtual folder", errors.NotFound, lambda b, base: b.stat_folder(base)),
    ("delete", errors.NotFound, lambda b, base: b.delete_file(base + "no")),
    ("delete folder", errors.NotFound, lambda b, base: b.delete_folder(base + "no/")),
    ("update", errors.NotFound, lambda b, base: b.update_file(base + "no", biz_attr="")),
    ("update folder", errors.NotFound, lambda b, base: b.update_folder(base + "no/", "")),
    ("download", errors.NotFound, lambda b, base: get(b, base + "no", 1)),
    ("head", errors.NotFound, lambda b, base: b.head(base + "no")),
    ("slices", errors.NotFound, lambda b, base: b.slice_list(base + "no")),
    ("move", errors.NotFound, lambda b, base: b.move_file(base + "no", base + "x", overwrite=True)),
    ("copy", errors.NotFound, lambda b, base: b.copy_file(base + "no", base + "x", overwrite=True)),
    ("move to taken", errors.AlreadyExists,
     lambda b, base: b.move_file(base + "f", base + "g", overwrite=False)),
    ("copy to taken", errors.AlreadyExists,
     lambda b, base: b.copy_file(base + "f", base + "g", overwrite=False)),
    ("create", errors.AlreadyExists, lambda b, base: b.create_folder(base + "d/")),
    ("upload", errors.AlreadyExists, lambda b, base: put(b, base + "f", b"other")),
    ("upload same", errors.SameContentExists, lambda b, base: put(b, base + "f", b"f")),
    ("wrong sha", errors.IntegrityError,
     lambda b, base: b.upload(base + "n", BytesSource(b"n"), sha="0" * 40, insert_only=True)),
    ("bad header", errors.BadRequest,
     lambda b, base: b.update_file(base + "f", custom_headers={"X-Odd": "1"})),
    ("long key", errors.BadRequest, lambda b, base: put(b, base + "x" * 900, b"")),
    ("lost session", errors.UploadSessionLost,
     lambda b, base: b.slice_data(base + "n", "nobody", 0, BytesSource(b"x"), 1)),
    ("finish without begin", errors.UploadSessionLost,
     lambda b, base: b.slice_finish(base + "n", "nobody", 1)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "ask"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
def test_a_refusal(
    bucket: BucketClient,
    base: str,
    kind: type[StoreError],
    ask: Callable[[BucketClient, str], object],
) -> None:
    put(bucket, base + "f", b"f")
    put(bucket, base + "g", b"g")
    bucket.create_folder(base + "d/")
    with pytest.raises(StoreError) as caught:
        ask(bucket, base)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("change", "name", "kind"),
    [
        ({"secret_key": "wrong"}, "mybucket", errors.BadCredentials),
        ({"secret_id": "AKIDwrong"}, "mybucket", errors.BadCredentials),
        ({"appid": "99"}, "mybucket", errors.BadCredentials),
        ({}, "nobucket", errors.BucketNotFound),
    ],
)
def test_who_is_not_let_in(
    server: LocalServer, change: dict[str, Any], name: str, kind: type[StoreError]
) -> None:
    api = connect(server, **change)
    with pytest.raises(kind):
        api.bucket(name).stat_folder("")
    assert api.counters()["stat"].requests == 1
    api.close()


def test_a_clock_that_is_wrong(server: LocalServer, expect_log: Callable[[str], None]) -> None:
    expect_log(r"the server's clock differs by \+3[56]\d{3} s")
    account = Account(
        Credentials(server.appid, server.secret_id, server.secret_key),
        Endpoints.of_region("sh", api=server.url, download=server.url),
    )
    clock = FakeClock(time.time() - 36000)
    api = JsonApi(account, NetworkOptions(timeout_s=20.0), clock=clock)
    for _ in range(2):
        api.bucket("mybucket").stat_folder("")
    assert api.counters()["stat"].requests == 3
    api.close()


# Slices ------------------------------------------------------------------------------------------


def pattern(size: int) -> BytesSource:
    return BytesSource(os.urandom(size))


@pytest.mark.parametrize("serial", [True, False])
@pytest.mark.parametrize("with_digests", [True, False])
def test_slices(serial: bool, with_digests: bool) -> None:
    source = pattern(3 * MIB + 17)
    with LocalServer(serial_upload=serial) as server:
        api = connect(server)
        bucket = api.bucket("mybucket")
        known = digests(source) if with_digests else None
        SliceUpload(bucket, "k", source, insert_only=True, digests=known, parallel=3).run()
        assert get(bucket, "k", source.size) == source.data
        info = bucket.stat_file("k")
        assert info.sha == sha_of(source.data) and info.slicesize == MIB
        assert isinstance(bucket.slice_list("k"), UploadedFile)
        server.reset_stats()
        SliceUpload(bucket, "same", source, insert_only=True, digests=digests(source)).run()
        assert server.stats()["requests"]["by_op"]["upload_slice_data"] == 0
        with pytest.raises(errors.AlreadyExists):
            SliceUpload(bucket, "k", pattern(5), insert_only=True).run()
        api.close()


def test_a_broken_upload_is_resumed(
    server: LocalServer, bucket: BucketClient, base: str
) -> None:
    source = pattern(6 * MIB + 1)
    known, key = digests(source), base + "f"
    server.set_faults(
        {"rules": [{"op": "upload_slice_data", "skip": 4, "action": "status", "status": 400,
                    "code": -5999}]}
    )  # fmt: skip
    with pytest.raises(errors.BadRequest):
        SliceUpload(bucket, key, source, insert_only=True, digests=known, parallel=1).run()
    assert not bucket.stat_file(key).is_complete
    server.clear_faults()
    server.reset_stats()
    SliceUpload(bucket, key, source, insert_only=True, digests=known).run()
    assert server.stats()["requests"]["by_op"]["upload_slice_data"] == 3
    assert get(bucket, key, source.size) == source.data


def test_another_broken_upload_is_deleted_when_allowed(bucket: BucketClient, base: str) -> None:
    old, new, key = pattern(MIB + 1), pattern(MIB + 2), base + "f"
    known = digests(old)
    begun = bucket.slice_init(
        key, filesize=old.size, slice_size=MIB, sha=known.sha, uploadparts=known.parts,
        insert_only=True,
    )  # fmt: skip
    assert isinstance(begun, SliceSession)
    with pytest.raises(errors.UnfinishedOther):
        SliceUpload(bucket, key, new, insert_only=True, digests=digests(new)).run()
    SliceUpload(bucket, key, new, insert_only=True, digests=digests(new), may_delete=True).run()
    assert get(bucket, key, new.size) == new.data


# Failures: whatever happens to a request, the outcome is what the method says ---------------------

FAULTS: list[dict[str, Any]] = [
    {"action": "drop_before"},
    {"action": "drop_after"},
    {"action": "cut_body"},
    {"action": "garbage"},
    {"action": "status", "status": 503, "code": -71},
    {"action": "status", "status": 500, "code": -181},
    {"action": "status", "status": 500, "code": -424242},
]


def slice_upload(bucket: BucketClient, base: str) -> None:
    source = BytesSource(bytes(range(256)) * (2 * MIB // 256) + base.encode())
    SliceUpload(bucket, base + "s", source, insert_only=True, digests=digests(source)).run()
    assert get(bucket, base + "s", source.size) == source.data


def read(bucket: BucketClient, key: str, expected: bytes) -> None:
    assert get(bucket, key, len(expected)) == expected


#: op of the fault, what is run, and what must be true afterwards
CHANGES: list[
    tuple[str, Callable[[BucketClient, str], object], Callable[[BucketClient, str], bool]]
] = [
    ("create", lambda b, base: b.create_folder(base + "n/"),
     lambda b, base: exists(b, base + "n/")),
    ("delete", lambda b, base: b.delete_file(base + "f"),
     lambda b, base: not exists(b, base + "f")),
    ("delete", lambda b, base: b.delete_folder(base + "d/"),
     lambda b, base: not exists(b, base + "d/")),
    ("move", lambda b, base: b.move_file(base + "f", base + "n", overwrite=False),
     lambda b, base: exists(b, base + "n") and not exists(b, base + "f")),
    ("move", lambda b, base: b.move_file(base + "f", base + "g", overwrite=True),
     lambda b, base: get(b, base + "g", 1) == b"f" and not exists(b, base + "f")),
    ("copy", lambda b, base: b.copy_file(base + "f", base + "n", overwrite=False),
     lambda b, base: get(b, base + "n", 1) == b"f"),
    ("update", lambda b, base: b.update_file(base + "f", biz_attr="b"),
     lambda b, base: b.stat_file(base + "f").biz_attr == "b"),
    ("update", lambda b, base: b.update_folder(base + "d/", "b"),
     lambda b, base: b.stat_folder(base + "d/").biz_attr == "b"),
    ("upload", lambda b, base: put(b, base + "n", b"new", biz_attr="b"),
     lambda b, base: get(b, base + "n", 3) == b"new"),
    ("upload", lambda b, base: put(b, base + "f", b"new", insert_only=False),
     lambda b, base: get(b, base + "f", 3) == b"new"),
    ("upload_slice_init", slice_upload, lambda b, base: True),
    ("upload_slice_data", slice_upload, lambda b, base: True),
    ("upload_slice_finish", slice_upload, lambda b, base: True),
    ("stat", lambda b, base: b.stat_file(base + "f"), lambda b, base: True),
    ("list", lambda b, base: b.list_folder(base), lambda b, base: True),
    ("download", lambda b, base: read(b, base + "f", b"f"), lambda b, base: True),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_a_failure_on_the_way(
    server: LocalServer,
    bucket: BucketClient,
    base: str,
    number: int,
    times: int,
    fault: dict[str, Any],
) -> None:
    op, run, is_done = CHANGES[number]
    put(bucket, base + "f", b"f")
    put(bucket, base + "g", b"g")
    bucket.create_folder(base + "d/")
    server.set_faults({"rules": [{"op": op, "times": times, **fault}]})
    run(bucket, base)
    assert server.faults()["fired"] == [times]
    server.clear_faults()
    assert is_done(bucket, base)


def test_a_download_that_is_cut_again_and_again(
    server: LocalServer, bucket: BucketClient, base: str
) -> None:
    data = os.urandom(2 * MIB)
    put(bucket, base + "f", data)
    server.set_faults({"rules": [{"op": "download", "times": 5, "action": "cut_body"}]})
    assert get(bucket, base + "f", len(data)) == data


@pytest.mark.parametrize("number", [0, 1, 3, 8, 13, 15])
def test_a_server_that_hangs(
    server: LocalServer, bucket: BucketClient, base: str, number: int
) -> None:
    op, run, is_done = CHANGES[number]
    put(bucket, base + "f", b"f")
    put(bucket, base + "g", b"g")
    bucket.create_folder(base + "d/")
    server.set_faults({"rules": [{"op": op, "times": 1, "action": "hang"}]})
    impatient = connect(server, timeout_s=1.0)
    run(impatient.bucket("mybucket"), base)
    impatient.close()
    assert is_done(bucket, base)


def test_many_threads(server: LocalServer, bucket: BucketClient, base: str) -> None:
    server.set_faults(
        {"seed": 1, "rules": [{"op": "*", "probability": 0.05, "action": "drop_after"}]}
    )

    def work(number: int) -> bool:
        key, data = f"{base}{number}", str(number).encode()
        put(bucket, key, data)
        assert get(bucket, key, len(data)) == data
        bucket.move_file(key, key + "m", overwrite=False)
        bucket.delete_file(key + "m")
        return True

    with ThreadPoolExecutor(32) as executor:
        assert all(executor.map(work, range(100)))
    server.clear_faults()
    assert bucket.list_folder(base).entries == ()
