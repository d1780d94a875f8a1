"""The store that writes back keeps the contract: with everything waiting, and with nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cosfs.clock import SystemClock
from cosfs.config import WriteBackOptions
from cosfs.store.base import Store
from cosfs.store.memory import MemoryStore
from cosfs.store.writeback.store import WriteBackStore
from tests.contract.store_contract import LargeFiles, StoreContract


def over_memory(folder: Path, delay_s: float, inner: MemoryStore | None = None) -> WriteBackStore:
    return WriteBackStore(
        inner or MemoryStore(),
        folder,
        clock=SystemClock(),
        options=WriteBackOptions(mode="on", delay_s=delay_s),
    )


class TestAllWaits(StoreContract, LargeFiles):
    """No change is made at the server before somebody waits for it: the view alone answers."""

    refuses_full_folders = True
    looks_for_folders_at_once = False
    big = 300

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = over_memory(tmp_path, delay_s=3600)
        store.start()
        yield store
        store.close()


class TestEagerly(StoreContract):
    """Changes are made while the test looks: it must not see when."""

    refuses_full_folders = True
    looks_for_folders_at_once = False
    big = 300

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = over_memory(tmp_path, delay_s=0)
        store.start()
        yield store
        store.close()
