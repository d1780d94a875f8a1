"""Listings: paging against a model, folding, the marker's slot, cursors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from cosfs.server.listing import DelayedView, ListRequest, decode_cursor, encode_cursor, list_page
from cosfs.server.objects import StoredObject
from cosfs.server.running import LocalServer
from cosfs.server.state import State
from tests.server.wire import Wire

Start = Callable[..., Wire]


def test_entry_of_a_file(wire: Wire, folder: str) -> None:
    wire.put(folder + "a b", b"hello")
    stat = wire.stat(folder + "a b").data
    (info,) = wire.list(folder).data["infos"]
    base = f"{wire.address.url}/mybucket-1250000000{folder}a%20b"
    assert info == {
        "name": "a b",
        "ctime": stat["ctime"],
        "mtime": stat["mtime"],
        "filesize": 5,
        "filelen": 5,
        "sha": "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d",
        "access_url": base,
        "source_url": base,
    }
    wire.update(folder + "a b", authority="eWRPrivate", biz_attr="not listed")
    (info,) = wire.list(folder).data["infos"]
    assert info["authority"] == "eWRPrivate" and "biz_attr" not in info


def test_entry_of_a_folder_has_the_times_of_its_marker(wire: Wire, folder: str) -> None:
    ctime = wire.create(folder + "sub/").data["ctime"]
    wire.put(folder + "sub/file")
    infos = wire.list(folder).data["infos"]
    assert infos == [{"name": "sub/", "ctime": ctime, "mtime": ctime}]


def test_a_missing_folder_lists_as_empty(wire: Wire, folder: str) -> None:
    assert wire.list(folder).data == {"context": "", "listover": True, "infos": []}


def test_a_full_last_page_says_that_nothing_follows(wire: Wire, folder: str) -> None:
    for name in "abcd":
        wire.put(folder + name)
    assert [len(page) for page in wire.pages(folder, 2)] == [2, 2]


def test_the_marker_takes_a_slot_of_the_first_page(wire: Wire, folder: str) -> None:
    wire.create(folder)
    wire.put(folder + "a")
    wire.put(folder + "b")
    assert [[info["name"] for info in page] for page in wire.pages(folder, 2)] == [["a"], ["b"]]
    data = wire.list(folder, 1).data
    assert data["infos"] == [] and data["listover"] is False
    assert [len(page) for page in wire.pages(folder, 1)] == [0, 1, 1]
    assert [len(page) for page in wire.pages(folder, 3)] == [2]


def test_the_marker_slot_counts_in_a_recursive_listing_too(wire: Wire, folder: str) -> None:
    wire.create(folder)
    wire.put(folder + "a")
    assert [len(page) for page in wire.pages(folder, 1, delimiter="")] == [0, 1]


def test_without_marker_slot(start: Start) -> None:
    wire = start(marker_slot=False)
    wire.create("/d/")
    wire.put("/d/a")
    wire.put("/d/b")
    assert [len(page) for page in wire.pages("/d/", 1)] == [1, 1]
    assert [len(page) for page in wire.pages("/d/", 2)] == [2]


def test_prefix(wire: Wire, folder: str) -> None:
    wire.create(folder)
    for name in ("ab", "abc", "abd/x", "ac", "b"):
        wire.put(folder + name)
    assert wire.names(folder + "ab") == ["ab", "abc", "abd/"]
    assert wire.names(folder + "ab", num=1) == ["ab", "abc", "abd/"]
    assert wire.names(folder + "x") == []
    assert wire.names(folder + "a c") == []


def test_prefix_at_the_root(wire: Wire, folder: str) -> None:
    name = folder.strip("/")
    wire.put(f"/{name}-x y")
    assert wire.names(f"/{name}-") == [f"{name}-x y"]


def test_recursive_listing_shows_nested_markers(wire: Wire, folder: str) -> None:
    wire.create(folder)
    wire.create(folder + "s/")
    wire.put(folder + "s/t/file")
    wire.put(folder + "z")
    for num in (1, 2, 1000):
        assert wire.names(folder, num, delimiter="") == ["s/", "s/t/file", "z"]
    infos = {info["name"]: info for page in wire.pages(folder, 9, delimiter="") for info in page}
    assert "access_url" not in infos["s/"] and "access_url" in infos["s/t/file"]


def test_other_delimiters(wire: Wire, folder: str) -> None:
    for name in ("a-1", "a-2", "b", "c-", "c-1", "d/e-f"):
        wire.put(folder + name)
    for num in (1, 2, 1000):
        assert wire.names(folder, num, delimiter="-") == ["a-", "b", "c-", "d/e-"]


def test_parameters_of_older_versions_are_ignored(wire: Wire, folder: str) -> None:
    wire.put(folder + "a")
    answer = wire.list(folder, 10, pattern="eListDirOnly", order=1, list_flag=1)
    assert [info["name"] for info in answer.data["infos"]] == ["a"]


def test_page_size_is_a_ceiling(start: Start) -> None:
    wire = start(page_size=199)
    assert wire.list("/", 199).code == 0
    assert wire.list("/", 200).code == -165


def test_a_folder_of_2500_files_lists_completely(start: Start, tmp_path: Path) -> None:
    wire = start(tmp_path)
    wire.create("/d/")
    wire.put("/d/f0000")
    names = [f"f{number:04}" for number in range(2500)]
    sign = wire.sign()
    for name in names[1:]:
        assert wire.post_json("/d/f0000", sign=sign, op="copy", dest_fileid=name).code == 0
    for num in (199, 1000):
        assert wire.names("/d/", num) == names
    wire.close()
    cast(LocalServer, wire.address).stop()
    wire = start(tmp_path, marker_slot=False)
    for num in (199, 1000):
        assert wire.names("/d/", num) == names


def test_unfinished_upload_is_listed_with_what_arrived(wire: Wire, folder: str) -> None:
    session = wire.slice_init(folder + "half", 65536 * 2, 65536).data["session"]
    wire.slice_data(folder + "half", session, 65536, bytes(65536))
    (info,) = wire.list(folder).data["infos"]
    assert (info["filesize"], info["filelen"], info["sha"]) == (131072, 65536, "")


def test_changes_between_pages(wire: Wire, folder: str) -> None:
    """What was listed before a change is neither repeated nor the reason to skip something."""
    for name in "abcdef":
        wire.put(folder + name)
    first = wire.list(folder, 3).data
    wire.delete(folder + "a")
    wire.delete(folder + "c")
    wire.put(folder + "bb")
    wire.put(folder + "dd")
    rest = wire.list(folder, 10, first["context"]).data
    assert [info["name"] for info in rest["infos"]] == ["d", "dd", "e", "f"]


# A model: everything at once, cut into pages afterwards.

_SEGMENTS = st.text(alphabet="ab/-é\U0001f642", min_size=1, max_size=6)


def _model(keys: list[bytes], request: ListRequest) -> list[bytes]:
    base = request.folder + request.prefix
    names: list[bytes] = []
    for key in sorted(keys):
        if not key.startswith(base) or (key == request.folder and not request.marker_slot):
            continue
        name = key[len(request.folder) :]
        found = key.find(request.delimiter, len(base)) if request.delimiter else -1
        if found >= 0:
            name = key[len(request.folder) : found + len(request.delimiter)]
        if not names or names[-1] != name:
            names.append(name)
    return names


@settings(max_examples=300)
@given(
    keys=st.lists(_SEGMENTS, max_size=12),
    folder=st.sampled_from(["", "a/", "b/", "a/b/"]),
    prefix=st.sampled_from(["", "a", "b-", "é"]),
    num=st.integers(1, 4),
    delimiter=st.sampled_from(["/", "", "-"]),
    marker_slot=st.booleans(),
)
def test_pages_join_to_what_the_model_says(
    keys: list[str], folder: str, prefix: str, num: int, delimiter: str, marker_slot: bool
) -> None:
    stored = sorted({key.encode() for key in keys})

    def scan(start: bytes, end: bytes) -> Iterator[StoredObject]:
        return (StoredObject(key, 1, 1) for key in stored if start <= key < end)

    def request(cursor: bytes) -> ListRequest:
        return ListRequest(
            "b", folder.encode(), prefix.encode(), num, delimiter.encode(), cursor, marker_slot
        )

    expected = _model(stored, request(b""))
    got: list[bytes] = []
    cursor = b""
    while True:
        page = list_page(scan, request(cursor))
        marker = not cursor and not prefix and marker_slot and folder.encode() in stored
        if marker and folder:
            got.append(b"")
        got += [line.name for line in page.entries]
        assert len(page.entries) <= num
        if page.cursor is None:
            break
        assert len(page.entries) + bool(marker and folder) == num
        cursor = decode_cursor(encode_cursor(page.cursor), folder.encode())
    assert got == expected


class _Watched:
    """As much of a state as a view needs that is never listed."""

    def watch(self, watcher: Callable[[str, bytes, None], None]) -> None:
        self.change = watcher


def test_a_view_that_nobody_lists_forgets() -> None:
    now = 0.0
    state = _Watched()
    view = DelayedView(cast(State, state), 10, lambda: now)
    for number in range(5000):
        now = number * 1.0
        state.change("one", b"same", None)
        state.change("many", b"%d" % number, None)
    assert len(view._before["one"][b"same"]) == 10
    assert len(view._before["many"]) < 1024


def test_a_sweep_keeps_what_is_recent() -> None:
    state = _Watched()
    view = DelayedView(cast(State, state), 10, lambda: 5.0)
    for number in range(5000):
        state.change("many", b"%d" % number, None)
    assert len(view._before["many"]) == 5000
