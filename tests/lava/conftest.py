"""All tests of this folder run Lava, and are skipped where it is not installed."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("lava")
            item.add_marker(pytest.mark.filterwarnings("ignore:pandas not found:ImportWarning"))  # from networkx 2.8
