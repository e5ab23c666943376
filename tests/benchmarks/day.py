"""A day of many hospitals, simulated from measured costs: where each part saturates, and what takes over.

Two ways, for they answer different questions. How busy one of each part would be in the busiest hour is
arithmetic. How long a mark waits for a worker is simulated: marks come at random, more in the morning, and
each takes a worker for the measured time.
"""

from __future__ import annotations

import heapq
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CT_A_DAY = 800
"""Of one site; a large hospital."""
SLICES, SLICE_BYTES = 500, 527_000
MARKED = 0.10
"""Share of CT that somebody marks a bone lesion on: assumed."""
HOURS = (1, 1, 1, 1, 1, 2, 3, 6, 9, 11, 11, 10, 8, 8, 8, 7, 5, 3, 2, 2, 2, 1, 1, 1)
"""How the work of a day spreads over its hours: assumed, in parts."""
NETWORK_BYTES_PER_S = 1.25e9
DISK_BYTES_PER_S = 1.0e9
"""Of one machine: 10 Gbit/s, and one fast disk that is written and synced: assumed."""
PUTS_PER_S = 3500.0
"""Writes that one prefix of Amazon S3 takes, as its manual says."""
DATABASE_CORES = 16
COMMITS_A_JOB, COMMIT_S = 8, 0.002
"""Writing transactions of one job in the ledger, and how long each holds the writers' lock: assumed."""
BUSY = 0.7
"""What a part may be used at the busiest hour, for waiting grows without bound towards 1."""
TAKES_OVER = {
    "listener process": "`node.receivers`, then a node more behind the balancer, on the same ledger",
    "network, 10 Gbit/s": "another machine: nodes behind the balancer",
    "disk, 1 GB/s": "another machine, each with its disk; or an object store (`store.objects_url`)",
    "object store, one prefix": "a bucket or prefix for each region",
    f"PostgreSQL, {DATABASE_CORES} cores": "a ledger for each region",
    "ledger, one writer at a time": "a ledger for each region",
    "worker process": "`jobs.workers`, then nodes on the same ledger",
}
"""What is done where one of a part is no longer enough."""
SCALES: Mapping[str, int] = {"a hospital": 1, "a region": 20, "a vendor's cloud": 1000}


@dataclass(frozen=True)
class Load:
    """What comes in the busiest hour, a second."""

    instances: float
    jobs: float

    @classmethod
    def of(cls, sites: int) -> Load:
        share = max(HOURS) / sum(HOURS) / 3600
        studies = sites * CT_A_DAY * share
        return cls(instances=studies * SLICES, jobs=studies * MARKED)


def parts_busy(costs: Mapping[str, float], sites: int) -> dict[str, float]:
    """How busy one of each part would be in the busiest hour; 1 is all of it."""
    load = Load.of(sites)
    return {
        "listener process": load.instances * costs["listener_cpu_s_an_instance"]
        + load.jobs * costs["listener_cpu_s_a_job"],
        "network, 10 Gbit/s": load.instances * SLICE_BYTES / NETWORK_BYTES_PER_S,
        "disk, 1 GB/s": load.instances * SLICE_BYTES / DISK_BYTES_PER_S,
        "object store, one prefix": load.instances / PUTS_PER_S,
        f"PostgreSQL, {DATABASE_CORES} cores": (
            load.instances * costs["database_cpu_s_an_instance"] + load.jobs * costs["database_cpu_s_a_job"]
        )
        / DATABASE_CORES,
        "ledger, one writer at a time": load.instances * costs["writer_s_an_instance"]
        + load.jobs * COMMITS_A_JOB * COMMIT_S,
        "worker process": load.jobs * costs["worker_cpu_s_a_job"],
    }


def arrivals(sites: int, seed: int, hours: Sequence[int] = HOURS) -> list[float]:
    """Seconds of the day at which marks come: a Poisson process whose rate changes by the hour."""
    moments = random.Random(seed)
    found = []
    for hour, weight in enumerate(hours):
        rate = sites * CT_A_DAY * MARKED * weight / sum(HOURS) / 3600
        at = 3600.0 * hour
        while rate and (at := at + moments.expovariate(rate)) < 3600.0 * (hour + 1):
            found.append(at)
    return found


def waits(came: Sequence[float], workers: int, takes_s: float) -> list[float]:
    """Seconds that each mark waits for a worker; what a mark takes varies by a factor of about two."""
    lengths = random.Random(7)
    free = [0.0] * workers
    found = []
    for at in came:
        start = max(at, heapq.heappop(free))
        found.append(start - at)
        heapq.heappush(free, start + takes_s * lengths.lognormvariate(-0.125, 0.5))
    return found


def simulate(costs: Mapping[str, float], *, short: bool = False) -> list[dict[str, Any]]:
    """Simulate a day of each scale.

    Parameters
    ----------
    costs
        Measured seconds and bytes of an instance and of a job.
    short
        Leave out the largest.
    """
    found = []
    for name, sites in SCALES.items():
        if short and sites > 20:
            continue
        busy = parts_busy(costs, sites)
        workers = max(1, math.ceil(busy["worker process"] / BUSY))
        came = arrivals(sites, seed=sites)
        wait = sorted(waits(came, workers, costs["worker_cpu_s_a_job"]))
        instances = sites * CT_A_DAY * SLICES
        found.append(
            {
                "name": name,
                "sites": sites,
                "studies": sites * CT_A_DAY,
                "marks": len(came),
                "gigabytes": instances * SLICE_BYTES / 1e9,
                "ledger_gigabytes": instances * costs["ledger_bytes_an_instance"] / 1e9,
                "busy": busy,
                "needed": {part: max(1, math.ceil(value / BUSY)) for part, value in busy.items()},
                "workers": workers,
                "wait_median_s": statistics.median(wait),
                "wait_99_s": wait[int(0.99 * (len(wait) - 1))],
                "wait_longest_s": wait[-1],
            }
        )
    return found


def tables(days: Sequence[Mapping[str, Any]]) -> str:
    """Tables of the simulated days, in Markdown."""
    heads = " | ".join(f"{one['name']} ({one['sites']})" for one in days)
    lines = [
        f"A day: {CT_A_DAY} CT of {SLICES} slices a site, {MARKED:.0%} of them marked, "
        f"{max(HOURS) / sum(HOURS):.0%} of the day in its busiest hour. How busy one of each part would be "
        f"then, and how many it takes at no more than {BUSY:.0%}:",
        "",
        f"| | {heads} |",
        "|---|" + "---|" * len(days),
        _row("received a day", [f"{one['gigabytes'] / 1e3:.1f} TB" for one in days]),
        _row("ledger grows a day by", [f"{one['ledger_gigabytes']:.1f} GB" for one in days]),
    ]
    for part in days[0]["busy"]:
        lines.append(_row(part, [_need(one["busy"][part], one["needed"][part]) for one in days]))
    lines += [
        _row("marks a day, simulated", [f"{one['marks']:,}" for one in days]),
        _row("workers", [str(one["workers"]) for one in days]),
        _row("a mark waits for a worker: median", [f"{1e3 * one['wait_median_s']:.0f} ms" for one in days]),
        _row("99 of 100 wait less than", [f"{1e3 * one['wait_99_s']:.0f} ms" for one in days]),
        _row("longest", [f"{one['wait_longest_s']:.1f} s" for one in days]),
    ]
    lines += [
        "",
        f"Where one of each part is {BUSY:.0%} busy, and what takes over there:",
        "",
        "| part | enough for | then |",
        "|---|---|---|",
    ]
    lines += [
        _row(part, [f"{enough_for(busy):,} sites", TAKES_OVER[part]])
        for part, busy in sorted(days[0]["busy"].items(), key=lambda one: -one[1])
    ]
    return "\n".join(lines) + "\n"


def enough_for(busy: float) -> int:
    """Sites that one of a part is enough for, which one site keeps so busy; two digits."""
    sites = BUSY / busy
    digits = max(0, math.floor(math.log10(sites)) - 1)
    return int(sites // 10**digits * 10**digits)


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def _need(busy: float, needed: int) -> str:
    share = f"{busy:.1%}" if busy < 0.1 else f"{busy:.0%}"
    return share if needed == 1 else f"{share}: **{needed}**"


def plot(costs: Mapping[str, float], path: Path) -> None:
    """Draw how busy one of each part is, by number of sites."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    sites = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
    curves = [parts_busy(costs, one) for one in sites]
    figure, axes = plt.subplots(figsize=(7.5, 4.4))
    for part in curves[0]:
        axes.plot(sites, [100 * one[part] for one in curves], "o-", ms=3, label=part)
    axes.axhline(100, color="0.3", lw=1)
    axes.axhspan(100 * BUSY, 100, color="tab:red", alpha=0.15, lw=0)
    for name, one in SCALES.items():
        axes.axvline(one, color="0.7", lw=0.8, ls=":")
        axes.text(one, 0.012, f" {name}", rotation=90, va="bottom", fontsize=8, color="0.4")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel=f"sites of {CT_A_DAY} CT a day",
        ylabel="busy in the busiest hour, % of one",
        ylim=(0.01, 2e4),
        xlim=(0.85, 1400),
    )
    axes.legend(fontsize=8, loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
