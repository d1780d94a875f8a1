"""The store on the JSON API keeps the contract, whatever habits the server has."""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cosfs.clock import SystemClock
from cosfs.config import Account, Credentials, Endpoints, NetworkOptions
from cosfs.errors import AlreadyExists, NotFound
from cosfs.jsonapi.bucket import BucketClient
from cosfs.jsonapi.client import JsonApi
from cosfs.model import BytesSource, Metadata, Version
from cosfs.server.running import LocalServer
from cosfs.store.base import Store
from cosfs.store.json_store import JsonStore
from cosfs.store.names import PORTABLE, RAW
from tests.contract.store_contract import (
    MIB,
    LargeFiles,
    StoreContract,
    big_content,
    list_all,
    set_properties,
    write,
)

BUCKET = "mybucket"


def api_of(server: LocalServer) -> JsonApi:
    account = Account(
        Credentials(server.appid, server.secret_id, server.secret_key),
        Endpoints.of_region("sh", api=server.url, download=server.url),
    )
    return JsonApi(account, NetworkOptions(timeout_s=20), clock=SystemClock())


@pytest.fixture(scope="session")
def big_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a server with 2,500 names in one folder, below the prefix ``big``."""
    folder = tmp_path_factory.mktemp("big")
    with LocalServer(folder, buckets=[BUCKET]) as server:
        api = api_of(server)
        store = JsonStore(api.bucket(BUCKET), prefix="big")
        store.make_folder("/big")
        store.make_folder("/big/m-folder")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: write(store, f"/big/{n:04}", big_content(n)), range(2499)))
        api.close()
    return folder


@pytest.fixture(scope="class")
def api(
    request: pytest.FixtureRequest, big_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[JsonApi]:
    """A client of a server with the switches of the test class."""
    folder = tmp_path_factory.mktemp("server") / "data"
    shutil.copytree(big_data, folder)
    with LocalServer(folder, buckets=[BUCKET], **request.cls.switches) as server:
        api = api_of(server)
        yield api
        api.close()


#: Each test has a prefix of its own on the server of its class.
_prefixes = (f"t{number}" for number in itertools.count())


class JsonContract(StoreContract):
    switches: dict[str, Any] = {}
    names = PORTABLE

    @pytest.fixture
    def store(self, api: JsonApi) -> Store:
        return JsonStore(api.bucket(BUCKET), prefix=next(_prefixes), names=self.names)

    def test_a_big_folder_is_listed_completely(  # type: ignore[override]
        self, api: JsonApi
    ) -> None:
        store = JsonStore(api.bucket(BUCKET), prefix="big", names=self.names)
        super().test_a_big_folder_is_listed_completely(store, "/big")

    def test_a_folder_does_not_hinder_a_file(  # type: ignore[override]
        self, store: Store, expect_log: Callable[[str], None]
    ) -> None:
        expect_log("'t[0-9]+/a' is not shown: a folder has the same name")
        super().test_a_folder_does_not_hinder_a_file(store)

    def test_where_a_file_and_a_folder_have_one_name(  # type: ignore[override]
        self, store: Store, expect_log: Callable[[str], None]
    ) -> None:
        expect_log("'t[0-9]+/n' is not shown: a folder has the same name")
        super().test_where_a_file_and_a_folder_have_one_name(store)


class TestJson(JsonContract, LargeFiles):
    pass


class TestJsonSmallPages(JsonContract):
    refuses_full_folders = True
    switches = {"page_size": 199, "refuse_nonempty_delete": True, "virtual_times": "omit"}


class TestJsonKeeping(JsonContract):
    overwrite_keeps_headers = True
    switches = {"marker_slot": False, "overwrite_keeps": True}


class TestJsonRawNames(JsonContract):
    implied_is_listed = False
    names = RAW
    switches = {"page_size": 199, "marker_slot": False, "virtual_times": "newest"}


class TestOnTheServer:
    """What is seen from the other side: the server's own answers and counters."""

    @pytest.fixture
    def server(self) -> Iterator[LocalServer]:
        with LocalServer(buckets=[BUCKET]) as server:
            yield server

    @pytest.fixture
    def bucket(self, server: LocalServer) -> Iterator[BucketClient]:
        api = api_of(server)
        yield api.bucket(BUCKET)
        api.close()

    @pytest.fixture
    def store(self, bucket: BucketClient) -> JsonStore:
        return JsonStore(bucket, prefix="p")

    def test_ordinary_metadata_stands_plain(self, store: JsonStore, bucket: BucketClient) -> None:
        given = {
            "biz_attr": b"demo",
            "x-cos-meta-owner": "señor".encode(),
            "content_type": b"text/plain",
            "comment": b"a note",
            "mime.Type": b"\xff",
        }
        store.write_file("/f", BytesSource(b"1"), metadata=Metadata(given))
        info = bucket.stat_file("p/f")
        assert info.biz_attr == "demo"
        assert info.custom_headers == {
            "x-cos-meta-owner": "señor",
            "Content-Type": "text/plain",
            "x-cos-meta-xattr-comment": "a note",
            "x-cos-meta-xattr-mime-2e-54ype": "=?cosfs?B?/w==?=",
        }
        into = bytearray(1)
        assert bucket.download("p/f", 0, memoryview(into)).headers["content-type"] == "text/plain"
        store.make_folder("/d")
        store.set_metadata("/d", store.stat_folder("/d"), Metadata({"biz_attr": b"demo"}))
        assert bucket.stat_folder("p/d/").biz_attr == "demo"

    def test_what_each_call_costs(self, store: JsonStore, server: LocalServer) -> None:
        large = BytesSource(random.Random(2).randbytes(20 * MIB + 1))
        demo, both = Metadata({"biz_attr": b"x"}), Metadata({"biz_attr": b"x", "other": b"y"})

        def cost(call: Callable[[], object]) -> dict[str, int]:
            server.reset_stats()
            call()
            counted = server.stats()["requests"]["by_op"]
            return {op: count for op, count in counted.items() if count}

        f = BytesSource(b"content")
        assert cost(store.probe) == {"stat": 1}
        assert cost(lambda: store.write_file("/f", f, metadata=demo)) == {"upload": 1}
        assert cost(lambda: store.write_file("/f", f, metadata=both)) == {"upload": 1, "update": 1}
        assert cost(lambda: store.stat_file("/f")) == {"stat": 1}
        entry = store.stat_file("/f")
        assert cost(lambda: store.set_metadata("/f", entry, demo)) == {"update": 1}
        assert cost(lambda: store.set_metadata("/f", entry, both)) == {}
        into = memoryview(bytearray(7))
        assert cost(lambda: store.read_range("/f", 0, into, entry.version)) == {"download": 1}
        assert cost(lambda: store.read_range("/f", 0, into[:0], entry.version)) == {}
        assert cost(lambda: store.list_page("/")) == {"list": 1}
        assert cost(lambda: store.list_page("/", prefix="f")) == {"list": 1}
        assert cost(lambda: store.move_file("/f", "/g", overwrite=True)) == {"move": 1}
        assert cost(lambda: store.delete_file("/g")) == {"delete": 1}
        assert cost(lambda: store.make_folder("/d")) == {"create": 1}
        assert cost(lambda: store.delete_folder("/d", marked=False)) == {"delete": 1}
        assert cost(lambda: store.write_file("/f", large, metadata=demo)) == {
            "upload_slice_init": 1,
            "upload_slice_data": 21,
            "upload_slice_finish": 1,
            "move": 1,
        }
        # The server knows the content now.
        assert cost(lambda: store.write_file("/g", large, metadata=both)) == {
            "upload_slice_init": 1,
            "update": 1,
            "move": 1,
        }

    def test_an_unfinished_upload(
        self, store: JsonStore, bucket: BucketClient, expect_log: Callable[[str], None]
    ) -> None:
        expect_log("'p/half' is not shown: its upload is not finished")
        expect_log("'p/half' was occupied by an unfinished upload")
        bucket.slice_init("p/half", filesize=3 * MIB, slice_size=MIB, insert_only=True)
        with pytest.raises(NotFound):
            store.stat_file("/half")
        with pytest.raises(NotFound):
            store.read_range("/half", 0, memoryview(bytearray(1)), Version("a" * 40, 3 * MIB))
        assert list_all(store, "/") == {}
        write(store, "/half", b"whole", create_only=True)
        assert set(list_all(store, "/")) == {"half"}
        store.delete_file("/half")
        bucket.slice_init("p/half", filesize=3 * MIB, slice_size=MIB, insert_only=True)
        store.delete_file("/half")

    @pytest.mark.parametrize("action", ["drop_before", "drop_after"])
    def test_a_lost_answer_is_settled(
        self, store: JsonStore, server: LocalServer, action: str
    ) -> None:
        steps: list[tuple[str, Callable[[], object]]] = [
            ("upload", lambda: write(store, "/f", b"1", create_only=True)),
            ("move", lambda: store.move_file("/f", "/g", overwrite=False)),
            ("update", lambda: set_properties(store, "/g", {"other": b"x"})),
            ("delete", lambda: store.delete_file("/g")),
            ("create", lambda: store.make_folder("/d")),
        ]
        for op, call in steps:
            server.set_faults({"rules": [{"op": op, "times": 1, "action": action}]})
            call()
            assert server.faults()["fired"] == [1]
        server.clear_faults()
        assert set(list_all(store, "/")) == {"d"}

    def test_nothing_is_left_in_staging(self, store: JsonStore, bucket: BucketClient) -> None:
        large = BytesSource(random.Random(3).randbytes(20 * MIB + 1))
        write(store, "/f", b"old")
        with pytest.raises(AlreadyExists):
            store.write_file("/f", large, metadata=Metadata(), create_only=True)
        store.write_file("/g", large, metadata=Metadata())
        assert bucket.list_folder("p/.cosfs-work/", delimiter="").entries == ()


def test_without_a_prefix() -> None:
    contract = StoreContract()
    tests = [
        contract.test_probe_and_root,
        contract.test_an_implied_folder,
        contract.test_moving_over_a_file,
        contract.test_impossible_names,
        contract.test_attributes_of_the_root,
    ]
    buckets = [f"bucket{number}" for number in range(len(tests))]
    with LocalServer(buckets=buckets) as server:
        api = api_of(server)
        for test, bucket in zip(tests, buckets, strict=True):
            test(JsonStore(api.bucket(bucket)))
        api.close()
