"""Ways of doing the same, taken in turn in each round, so that a busy machine hurts all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def medians(
    ways: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    at_least_s: float = 0.0,
) -> dict[str, float]:
    """Median seconds of one call of each way.

    Parameters
    ----------
    rounds
        Counted; one before them warms up.
    at_least_s
        A way that takes less is called so often in a round that it takes this long.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    repeats: dict[str, int] = {}
    for name, way in ways.items():
        start = clock()
        way()
        repeats[name] = max(1, int(at_least_s / max(clock() - start, 1e-6)))
    for _ in range(rounds):
        for name, way in ways.items():
            start = clock()
            for _ in range(repeats[name]):
                way()
            times[name].append((clock() - start) / repeats[name])
    return {name: statistics.median(taken) for name, taken in times.items()}
