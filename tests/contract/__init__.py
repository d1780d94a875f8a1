"""One body of tests for every store, and one file per store that runs it."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.attributes_contract", f"{__name__}.store_contract")
