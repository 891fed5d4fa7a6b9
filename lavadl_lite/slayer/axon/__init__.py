"""What happens to spikes on their way: delays."""

from .delay import Delay, delay

__all__ = ["Delay", "delay"]
