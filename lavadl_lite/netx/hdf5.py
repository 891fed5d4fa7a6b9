"""Networks of Lava from files; needs lava-nc, which importing this imports."""

from .blocks.network import Network, PyNetworkModel

__all__ = ["Network", "PyNetworkModel"]
