"""What is sent of several changes of one name, in requests; and what is shown before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest

from cosfs.errors import ConnectFailed, NotFound
from cosfs.model import Attributes, Base, Metadata
from cosfs.store.memory import MemoryStore
from cosfs.store.writeback.store import WriteBackStore
from tests.fakeclock import FakeClock
from tests.vfs.machine.world import World
from tests.writeback.bench import behind, finish, get, put


@pytest.fixture
def server() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def store(server: MemoryStore, tmp_path: Path) -> WriteBackStore:
    return behind(server, tmp_path)


def sent(server: MemoryStore, store: WriteBackStore) -> Counter[str]:
    """Return what is requested to make everything that waits."""
    server.requests.clear()
    finish(store)
    store.backlog.close()
    return +server.requests


def over(store: WriteBackStore, path: str) -> Base:
    return Base(store.stat_file(path), is_needed=True)


def test_a_file_that_is_rewritten_is_sent_once(server: MemoryStore, store: WriteBackStore) -> None:
    put(store, "/f", b"1")
    put(store, "/f", b"2", over(store, "/f"))
    assert get(store, "/f") == b"2"
    assert sent(server, store) == {"write_file": 1}
    assert server.files() == {"/f": b"2"}


def test_one_that_is_removed_is_never_sent(server: MemoryStore, store: WriteBackStore) -> None:
    put(store, "/f", b"1")
    store.delete_file("/f", base=over(store, "/f"))
    assert get(store, "/f") is None
    assert sent(server, store) == {}


def test_one_that_the_server_has_is_removed_there(
    server: MemoryStore, store: WriteBackStore
) -> None:
    put(server, "/f", b"old")
    put(store, "/f", b"new", over(store, "/f"))
    store.delete_file("/f", base=over(store, "/f"))
    assert sent(server, store) == {"delete_file": 1}
    assert server.files() == {}


def test_what_gets_its_name_at_the_end_is_sent_under_that(
    server: MemoryStore, store: WriteBackStore
) -> None:
    put(server, "/f", b"old")
    put(store, "/.f.tmp", b"new")
    entry = store.stat_file("/.f.tmp")
    wanted = Metadata(attributes=Attributes(mode=0o100600, mtime_ns=5))
    store.set_metadata("/.f.tmp", entry, wanted)
    store.move_file("/.f.tmp", "/f", overwrite=True, base=over(store, "/.f.tmp"))
    assert get(store, "/f") == b"new" and get(store, "/.f.tmp") is None
    assert sent(server, store) == {"write_file": 1}
    assert server.files() == {"/f": b"new"}
    stored = server.stat_file("/f").metadata
    assert stored is not None and stored.attributes == wanted.attributes


def test_a_file_that_is_moved_away_after_a_change_leaves_no_old_one(
    server: MemoryStore, store: WriteBackStore
) -> None:
    put(server, "/f", b"old")
    put(store, "/f", b"new", over(store, "/f"))
    store.move_file("/f", "/g", overwrite=True, base=over(store, "/f"))
    assert sent(server, store) == {"write_file": 1, "delete_file": 1}
    assert server.files() == {"/g": b"new"}


def test_removed_and_made_again_is_one_write(server: MemoryStore, store: WriteBackStore) -> None:
    put(server, "/f", b"old")
    store.delete_file("/f", base=over(store, "/f"))
    put(store, "/f", b"new")
    assert sent(server, store) == {"write_file": 1}


def test_a_folder_made_and_removed_is_nothing(server: MemoryStore, store: WriteBackStore) -> None:
    store.make_folder("/d", base=Base())
    store.mark_folder("/d")
    put(store, "/d/f", b"1")
    store.delete_file("/d/f", base=over(store, "/d/f"))
    store.delete_folder("/d", marked=True)
    with pytest.raises(NotFound):
        store.stat_folder("/d")
    assert sent(server, store) == {}


def test_a_folder_keeps_its_text_when_its_mark_changes(
    server: MemoryStore, store: WriteBackStore
) -> None:
    entry = server.make_folder("/d")
    text = Metadata({"biz_attr": b"a text"})
    mode = Attributes(mode=0o40700)
    store.set_metadata("/d", entry, text)
    store.set_metadata("/d", entry, Metadata(attributes=mode))
    assert sent(server, store) == {"set_metadata": 1}
    assert server.stat_folder("/d").metadata == replace(text, facts=ANY)
    assert server.marks()["/d"].attributes == mode


def test_a_folder_keeps_its_text_when_a_change_of_its_mark_is_tried_again(
    server: MemoryStore, tmp_path: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("tried again")
    clock = FakeClock()
    store = behind(server, tmp_path, clock)
    # Whoever changes what the mark holds need not know the text.
    entry = replace(server.make_folder("/d", biz_attr=b"a text"), metadata=Metadata())
    store.set_metadata("/d", entry, Metadata(attributes=Attributes(mode=0o40700)))
    taken = store.backlog.take(is_waiting=False)
    assert taken is not None
    store.backlog.failed(taken[0], ConnectFailed("nobody answers"))
    clock.advance(60)
    finish(store)
    assert server.stat_folder("/d").metadata == Metadata({"biz_attr": b"a text"}, ANY)
    assert server.marks()["/d"].attributes == Attributes(mode=0o40700)
    store.close()


def test_what_was_begun_is_not_folded(server: MemoryStore, store: WriteBackStore) -> None:
    put(store, "/f", b"1")
    taken = store.backlog.take(is_waiting=False)
    assert taken is not None
    store.delete_file("/f", base=over(store, "/f"))
    assert get(store, "/f") is None
    put(server, "/f", b"1")  # what the worker does
    store.backlog.made_it(taken[0])
    assert get(store, "/f") is None
    assert sent(server, store) == {"delete_file": 1}


def test_a_file_on_its_way_is_read_where_it_is(server: MemoryStore, store: WriteBackStore) -> None:
    put(server, "/a", b"content")
    seen: list[bytes | None] = []

    def look(method: str, _path: str) -> None:
        if method == "move_file":
            seen.append(get(store, "/c"))

    server.hook = look
    store.move_file("/a", "/b", overwrite=True, base=over(store, "/a"))
    store.move_file("/b", "/c", overwrite=True, base=over(store, "/b"))
    assert get(store, "/c") == b"content" and get(store, "/a") is get(store, "/b") is None
    assert sent(server, store)["move_file"] == 2
    assert seen == [b"content"] * 2


@pytest.mark.parametrize("ttl_s", [60.0, 0.0])
def test_a_folder_that_replaces_another_has_nothing_of_it(ttl_s: float) -> None:
    world = World(delay_s=0.0, ttl_s=ttl_s)
    world.do("stat", {"path": 28})
    # Folders of another user; the one that is replaced has a mode of its own.
    world.do("mkdir", {"path": 3, "mode": 2, "who": 2})
    world.do("mkdir", {"path": 2, "mode": 1, "who": 2})
    world.do("make", {"changes": 1000})
    world.do("rename", {"path": 17, "to": 2})
    assert set(world.model.all()) == {"/", "/a-"}
    world.end()
