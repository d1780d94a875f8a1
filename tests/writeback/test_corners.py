"""Changes that meet: what one finds is not what the one before it was to leave."""

from __future__ import annotations

from pathlib import Path

from cosfs.model import Base
from cosfs.store.memory import MemoryStore
from tests.writeback.bench import behind, finish, put


def test_a_stat_of_a_file_that_moves_is_not_of_its_successor(tmp_path: Path) -> None:
    server = MemoryStore()
    put(server, "/a", b"old")
    store = behind(server, tmp_path)
    store.move_file("/a", "/b", overwrite=True, base=Base(server.stat_file("/a")))

    def look(method: str, path: str) -> None:
        if (method, path) == ("stat_file", "/a"):
            server.hook = None
            finish(store)
            put(store, "/a", b"of another file")
            finish(store)

    server.hook = look
    assert store.stat_file("/b").size == 3
    store.close()
