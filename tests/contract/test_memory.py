"""The memory store keeps the contract."""

from __future__ import annotations

import pytest

from cosfs.store.base import Store
from cosfs.store.memory import MemoryStore
from tests.contract.store_contract import LargeFiles, StoreContract


class TestMemory(StoreContract, LargeFiles):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestMemorySmallPages(StoreContract):
    refuses_full_folders = True
    big = 40

    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore(page_size=1, refuse_full_folders=True)


class TestMemoryWithoutMarkerSlot(StoreContract):
    big = 500

    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore(page_size=199, marker_slot=False)
