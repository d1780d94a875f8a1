"""A faulty store without a plan keeps the contract."""

from __future__ import annotations

import pytest

from cosfs.store.base import Store
from cosfs.store.faulty import FaultPlan, FaultyStore
from cosfs.store.memory import MemoryStore
from tests.contract.store_contract import StoreContract


class TestFaulty(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return FaultyStore(MemoryStore(), FaultPlan())
