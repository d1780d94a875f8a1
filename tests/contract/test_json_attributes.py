"""Attributes and marks as the server sees them: what stands there, what each call costs, races."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator

import pytest

from cosfs.clock import SystemClock
from cosfs.config import Account, Credentials, Endpoints, NetworkOptions
from cosfs.errors import AlreadyExists, AttributesTooLarge, SameContentExists
from cosfs.jsonapi.bucket import BucketClient
from cosfs.jsonapi.client import JsonApi
from cosfs.model import Attributes, BytesSource, Entry, Kind, Metadata
from cosfs.server.running import LocalServer
from cosfs.store.json_store import JsonStore
from tests.contract.attributes_contract import PROPERTIES, is_marked, mark_of, metadata_of
from tests.contract.store_contract import in_threads, list_all

BUCKET = "mybucket"

FULL = Attributes(stat.S_IFREG | 0o600, 1000, 1001, 1_700_000_000_123_456_789)
OWN = Metadata({}, None, FULL)
PLAIN = Metadata({"biz_attr": b"demo"}, None, FULL)

ENVELOPE = (
    '{"cosfs":1,"mode":33152,"uid":1000,"gid":1001,"mtime":"1700000000.123456789"}'
)
HEADERS = {
    "x-cos-meta-mode": "33152",
    "x-cos-meta-uid": "1000",
    "x-cos-meta-gid": "1001",
    "x-cos-meta-mtime": "1700000000",
    "x-cos-meta-mtime-ns": "1700000000.123456789",
}

Cost = Callable[[Callable[[], object]], dict[str, int]]


class HastyClock(SystemClock):
    """A clock that never waits; ``instead`` runs in place of a wait before another attempt."""

    def __init__(self) -> None:
        self.instead: Callable[[], object] = lambda: None

    def sleep(self, seconds: float) -> None:
        self.instead()


@pytest.fixture(params=[1000, 199])
def server(request: pytest.FixtureRequest) -> Iterator[LocalServer]:
    with LocalServer(buckets=[BUCKET], page_size=request.param) as server:
        yield server


@pytest.fixture
def clock() -> HastyClock:
    return HastyClock()


@pytest.fixture
def bucket(server: LocalServer, clock: HastyClock) -> Iterator[BucketClient]:
    account = Account(
        Credentials(server.appid, server.secret_id, server.secret_key),
        Endpoints.of_region("sh", api=server.url, download=server.url),
    )
    api = JsonApi(account, NetworkOptions(timeout_s=20), clock=clock)
    # The one refusal that tells the client which pages this server gives.
    api.bucket(BUCKET).list_folder("")
    yield api.bucket(BUCKET)
    api.close()


@pytest.fixture
def store(bucket: BucketClient) -> JsonStore:
    return JsonStore(bucket, prefix="p")


@pytest.fixture
def cost(server: LocalServer) -> Cost:
    def run(call: Callable[[], object]) -> dict[str, int]:
        server.reset_stats()
        call()
        counted = server.stats()["requests"]["by_op"]
        return {op: count for op, count in counted.items() if count}

    return run


def create(store: JsonStore, path: str, metadata: Metadata, data: bytes = b"") -> Entry:
    return store.write_file(path, BytesSource(data), metadata=metadata, create_only=True)


def test_what_stands_on_the_server(store: JsonStore, bucket: BucketClient) -> None:
    source = BytesSource(b"1")
    store.write_file("/f", source, metadata=OWN)
    info = bucket.stat_file("p/f")
    assert info.biz_attr == ENVELOPE and info.custom_headers == {}
    store.set_metadata("/f", store.stat_file("/f"), PLAIN)
    info = bucket.stat_file("p/f")
    assert info.biz_attr == "demo" and info.custom_headers == HEADERS
    sent = bucket.head("p/f").headers
    assert {name: sent[name] for name in HEADERS} == HEADERS
    store.set_metadata("/f", store.stat_file("/f"), OWN)
    info = bucket.stat_file("p/f")
    assert info.biz_attr == ENVELOPE and info.custom_headers == {}
    store.mark_folder("/", OWN)
    assert bucket.stat_folder("p/.cosfs/").biz_attr == ENVELOPE
    store.mark_folder("/d", OWN)
    assert bucket.stat_folder("p/d/.cosfs/").biz_attr == ENVELOPE


def test_what_the_other_mount_writes_is_read(store: JsonStore, bucket: BucketClient) -> None:
    bucket.upload("p/f", BytesSource(b""), sha="da39a3ee5e6b4b0d3255bfef95601890afd80709",
                  insert_only=True)  # fmt: skip
    bucket.update_file("p/f", custom_headers={**HEADERS, "x-cos-meta-owner": "me"})
    assert metadata_of(store, "/f") == Metadata({"x-cos-meta-owner": b"me"}, None, FULL)


def test_what_files_with_attributes_cost(store: JsonStore, cost: Cost) -> None:
    source = BytesSource(b"content")
    assert cost(lambda: store.write_file("/f", source, metadata=OWN)) == {"upload": 1}
    assert cost(lambda: create(store, "/g", OWN)) == {"upload": 1}
    assert cost(lambda: create(store, "/h", PLAIN)) == {"upload": 1, "update": 1}

    def set_file(entry: Entry, wanted: Metadata) -> dict[str, int]:
        return cost(lambda: store.set_metadata("/f", entry, wanted))

    newer = OWN.with_attributes(Attributes(mode=stat.S_IFREG | 0o644))
    for wanted in (newer, PLAIN, OWN.with_property("comment", b"x"), Metadata()):
        assert set_file(store.stat_file("/f"), wanted) == {"update": 1}
        assert metadata_of(store, "/f") == wanted
    assert set_file(store.stat_file("/f"), Metadata()) == {}
    assert cost(lambda: store.move_file("/h", "/i", overwrite=True)) == {"move": 1}
    assert metadata_of(store, "/i") == PLAIN


@pytest.mark.parametrize("prefix", ["", "p"])
@pytest.mark.parametrize("folder", ["/", "/d"])
def test_what_marks_cost(bucket: BucketClient, cost: Cost, prefix: str, folder: str) -> None:
    store = JsonStore(bucket, prefix=prefix)

    def set_from(known: Metadata, wanted: Metadata) -> dict[str, int]:
        entry = Entry(Kind.FOLDER, metadata=known)
        return cost(lambda: store.set_metadata(folder, entry, wanted))

    assert cost(lambda: store.mark_folder(folder)) == {"create": 1}
    assert cost(lambda: store.mark_folder(folder, OWN)) == {"create": 1}
    assert cost(lambda: store.stat_mark(folder)) == {"stat": 1}
    assert cost(lambda: store.list_page(folder)) == {"list": 1}
    assert set_from(Metadata(), OWN) == {"update": 1}
    assert mark_of(store, folder) == OWN
    assert set_from(OWN, OWN) == {}
    assert set_from(OWN, Metadata()) == {"update": 1}
    assert mark_of(store, folder) == Metadata()


def test_what_folders_cost(store: JsonStore, cost: Cost) -> None:
    def set_from(known: Metadata, wanted: Metadata) -> dict[str, int]:
        entry = Entry(Kind.FOLDER, metadata=known)
        return cost(lambda: store.set_metadata("/d", entry, wanted))

    assert cost(lambda: store.make_folder("/d", biz_attr=b"x")) == {"create": 1}
    assert set_from(Metadata({"biz_attr": b"x"}), PLAIN) == {"update": 2, "create": 1}
    assert set_from(PLAIN, OWN) == {"update": 1}
    assert set_from(OWN, Metadata({"biz_attr": b"y", "comment": b"x"})) == {"update": 2}
    assert cost(lambda: store.delete_folder("/d", marked=True)) == {"delete": 2}
    assert cost(lambda: store.make_folder("/d")) == {"create": 1}
    assert cost(lambda: store.mark_folder("/d", OWN)) == {"create": 1}
    assert mark_of(store, "/d") == OWN
    assert cost(lambda: store.delete_folder("/d", marked=True)) == {"delete": 2}


def test_a_mark_takes_a_place_in_a_listing(
    store: JsonStore, cost: Cost, server: LocalServer
) -> None:
    names = [f"{number:03}" for number in range(197)]
    store.make_folder("/d")
    in_threads(4, lambda n: [create(store, f"/d/{name}", Metadata()) for name in names[n::4]])
    assert cost(lambda: list_all(store, "/d")) == {"list": 1}
    store.mark_folder("/d")
    assert cost(lambda: list_all(store, "/d")) == {"list": 1}
    create(store, "/d/more", Metadata())
    small = bool(store.list_page("/d").cursor)
    assert cost(lambda: list_all(store, "/d")) == {"list": 1 + small}
    assert is_marked(store, "/d")
    assert set(list_all(store, "/d")) == {*names, "more"}


def test_too_much_is_noticed_before_anything_is_sent(store: JsonStore, cost: Cost) -> None:
    long = Metadata({f"x-cos-meta-{n}": b"x" * 1950 for n in range(2)}, None, FULL)
    store.write_file("/f", BytesSource(b""), metadata=long)
    entry = store.stat_file("/f")
    store.make_folder("/d")
    folder = store.stat_folder("/d")
    too_long = Metadata({"biz_attr": b"x", "comment": b"x" * 1000}, None, FULL)

    def refused(call: Callable[[], object]) -> dict[str, int]:
        def run() -> None:
            with pytest.raises(AttributesTooLarge):
                call()

        return cost(run)

    with_text = long.with_property("biz_attr", b"x").with_property("x-cos-meta-2", b"x" * 100)
    assert refused(lambda: store.set_metadata("/f", entry, with_text)) == {}
    assert refused(lambda: store.set_metadata("/d", folder, too_long)) == {}
    assert refused(lambda: store.mark_folder("/d", too_long)) == {}
    assert metadata_of(store, "/f") == long


def test_the_largest_that_goes(store: JsonStore) -> None:
    folder = Metadata({"biz_attr": b"x" * 1024, "comment": b"x" * 900}, None, FULL)
    store.make_folder("/d")
    store.set_metadata("/d", store.stat_folder("/d"), folder)
    assert mark_of(store, "/d") == folder.with_property("biz_attr", None)
    file = Metadata({"biz_attr": b"x" * 1024, "x-cos-meta-a": b"x" * 2036, "b": b"x" * 1800})
    file = file.with_attributes(FULL)
    store.write_file("/f", BytesSource(b""), metadata=file)
    assert metadata_of(store, "/f") == file


@pytest.mark.parametrize("action", ["drop_before", "drop_after"])
def test_lost_answers_about_marks(store: JsonStore, server: LocalServer, action: str) -> None:
    steps: list[tuple[str, Callable[[], object]]] = [
        ("create", lambda: store.mark_folder("/d", OWN)),
        ("update", lambda: store.set_metadata("/d", Entry(Kind.FOLDER, metadata=OWN), both)),
        ("delete", lambda: store.delete_folder("/d", marked=True)),
    ]
    both = Metadata(PROPERTIES, None, FULL)
    store.make_folder("/d")
    for op, call in steps:
        server.set_faults({"rules": [{"op": op, "times": 1, "action": action}]})
        call()
        assert server.faults()["fired"] == [1]
        if op != "delete":
            assert mark_of(store, "/d") == (OWN if op == "create" else both)
    assert list_all(store, "/") == {}


# Whose file is it?


def test_a_file_of_ours_is_known_after_a_lost_answer(
    store: JsonStore, server: LocalServer, clock: HastyClock
) -> None:
    lost = []

    def other() -> None:
        with pytest.raises(SameContentExists):
            create(store, "/f", OWN)
        lost.append(True)

    server.set_faults({"rules": [{"op": "upload", "times": 1, "action": "drop_after"}]})
    clock.instead = other
    assert create(store, "/f", OWN).metadata == OWN
    assert lost == [True]
    assert metadata_of(store, "/f") == OWN


@pytest.mark.parametrize("metadata", [Metadata(), OWN])
def test_a_file_of_another_is_not_taken_for_ours(
    store: JsonStore, server: LocalServer, clock: HastyClock, metadata: Metadata
) -> None:
    # The same content and attributes, in the same second: only the nonce differs.
    server.set_faults({"rules": [{"op": "upload", "times": 1, "action": "drop_before"}]})
    clock.instead = lambda: create(store, "/f", metadata)
    with pytest.raises(AlreadyExists):
        create(store, "/f", metadata)
    assert metadata_of(store, "/f") == metadata


def test_of_many_that_create_one_wins_although_answers_are_lost(
    store: JsonStore, server: LocalServer
) -> None:
    rules = [
        {"op": "upload", "action": action, "probability": 0.3}
        for action in ("drop_before", "drop_after")
    ]
    server.set_faults({"seed": 5, "rules": rules})

    def race(number: int) -> Callable[[int], object]:
        def run(_thread: int) -> bool:
            try:
                create(store, f"/{number}", Metadata())
            except AlreadyExists:
                return False
            return True

        return run

    for number in range(60):
        assert in_threads(3, race(number)).count(True) == 1
    assert min(server.faults()["fired"]) > 10
