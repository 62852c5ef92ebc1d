"""The store of shelves passes the contract, keeps what it promises beside it, and explains every refusal."""

import pytest

from farmhand.testing.stores import StoreConformance
from farmhand_shelve import ShelveStore


class TestContract(StoreConformance):
    """On every dbm that this Python has."""

    @pytest.fixture
    def location(self, tmp_path):
        return tmp_path / "rates.data"

    @pytest.fixture
    def open_store(self):
        return ShelveStore
