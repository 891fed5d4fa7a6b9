"""What happens to spikes on their way: delays, and the encoding of changes."""

from .delay import Delay, delay
from .delta import Delta

__all__ = ["Delay", "Delta", "delay"]
