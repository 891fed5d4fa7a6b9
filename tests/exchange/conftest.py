"""What the tests of the exchange format share: a place to put layers."""

import h5py
import pytest

from tests.exchange.networks import put


@pytest.fixture
def store(tmp_path):
    """Write layers, as dictionaries of fields, into a file; returns its path."""

    def write(*layers, **top):
        path = tmp_path / "network.net"
        with h5py.File(path, "w") as file:
            put(file, {"layer": {str(i): layer for i, layer in enumerate(layers)}, **top})
        return path

    return write
