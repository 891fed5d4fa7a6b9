"""What happens to messages where they arrive: the sum over time that undoes a delta encoder."""

from .sigma import Sigma

__all__ = ["Sigma"]
