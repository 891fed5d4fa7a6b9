"""Times things in turn, so that a busy moment of the machine meets all of them; what they do stands elsewhere."""

import statistics
import time
from dataclasses import dataclass

__all__ = ["Times", "interleaved"]

BURST = 0.05  # seconds that a quick contender may repeat itself before the next one's turn
REPEATS = 9  # and the times at most


@dataclass(frozen=True)
class Times:
    """Seconds that each call took."""

    seconds: tuple[float, ...]

    @property
    def median(self):
        return statistics.median(self.seconds)

    @property
    def quartiles(self):
        """A quarter of the calls was faster than the first, a quarter slower than the second."""
        if len(self.seconds) < 2:
            return self.seconds * 2
        first, _, last = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return first, last


def interleaved(contenders, rounds=7):
    """Times of ``{name: callable}``, taken alternately in ``rounds`` rounds after a first call that is not counted."""
    for call in contenders.values():
        call()
    seconds = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            spent = 0.0
            for _ in range(REPEATS):
                start = time.perf_counter()
                call()
                taken = time.perf_counter() - start
                seconds[name].append(taken)
                spent += taken
                if spent > BURST:
                    break
    return {name: Times(tuple(taken)) for name, taken in seconds.items()}
