"""Feeds files, as they are or mutated, to the readers; run in a process of its own, so that a crash is seen.

    python -m tests.readers.fuzz --count 1000 --seed 1 FILE...

Prints one JSON line for each input before it is read and one after, and the peak memory at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import struct
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from osteoscribe.core.series import BlobRef
from osteoscribe.errors import OsteoscribeError
from osteoscribe.readers.ct import index_series, read_box
from osteoscribe.readers.headers import StoredInstance, read_dataset, read_header, split_part10
from osteoscribe.readers.marks import read_marks

ADDRESS_SPACE = 3 << 30
"""Libraries map about 1 GB that they never touch; the peak of touched memory is what counts."""
HEADER_BYTES = 4096
WORDS = (0, 1, 0x7FFF, 0x8000, 46341, 0xFFFF)
LONGS = (0, 1, 1_000_000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


def mutated(data: bytes, seed: int) -> bytes:
    """Damage in one to sixteen places, half of them near the beginning."""
    chance = random.Random(seed)
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(min(len(out), HEADER_BYTES) if chance.random() < 0.5 else len(out))
        kind = chance.randrange(9)
        if kind == 0:
            out[at] = chance.randrange(256)
        elif kind == 1:
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            out[at : at + 2] = struct.pack("<H", chance.choice(WORDS))
        elif kind == 3:
            out[at : at + 4] = struct.pack("<L", chance.choice(LONGS))
        elif kind == 4:
            del out[at : at + chance.choice((1, 2, 4, 64, 1000))]
        elif kind == 5:
            start = chance.randrange(len(out))
            out[at:at] = out[start : start + chance.choice((1, 8, 64, 500))]
        elif kind == 6:
            out[at : at + 8] = chance.randbytes(8)
        elif kind == 7:
            out[at : at + 4] = chance.choice((b"\\\\\\\\", b"-1\\1", b"1e99", b"nan ", b"\xff\xff\xff\xff"))
        elif chance.random() < 0.3:
            del out[at:]
        out = out or bytearray(1)
    return bytes(out)


def read(data: bytes) -> Iterator[str]:
    """All that is done with received bytes, each step as a value or the code of its error."""
    try:
        part10 = split_part10(data)
        encoded, syntax = data[part10.dataset_offset :], part10.transfer_syntax_uid
    except OsteoscribeError as error:
        yield error.code
        return
    try:
        marks = read_marks(read_dataset(encoded, transfer_syntax_uid=syntax))
        yield f"{len(marks)} marks"
    except OsteoscribeError as error:
        yield error.code
    try:
        header = read_header(encoded, transfer_syntax_uid=syntax)
        blob = BlobRef(segment="", offset=0, length=len(encoded))
        index = index_series([StoredInstance(header=header, blob=blob, digest="")])
        box = read_box(index, (slice(0, 4), slice(None), slice(None)), lambda _, a, b: encoded[a:b])
        yield f"{box.voxels_hu.size} voxels"
    except OsteoscribeError as error:
        yield error.code


def children() -> list[int]:
    """The decoding processes that still run; each is the child of the thread that started it."""
    threads = Path("/proc/self/task").glob("*/children")
    return [int(pid) for thread in threads for pid in thread.read_text().split()]


def peak_mb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def peak_of_all_mb() -> int:
    """Peak memory of this process or of one of its decoding processes, ended ones too."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    return max(ended, *(peak_mb(pid) for pid in (os.getpid(), *children())))


def say(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=0, help="mutations; 0 takes each file once as it is")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    files = sorted(arguments.files)
    for number in range(arguments.count or len(files)):
        path, seed = files[number % len(files)], arguments.seed + number
        data = path.read_bytes()
        if arguments.count:
            data = mutated(data, seed)
        say(name=path.name, seed=seed)
        start = time.monotonic()
        outcome = list(read(data))
        say(outcome=outcome, seconds=time.monotonic() - start)
    say(peak_mb=peak_of_all_mb())


if __name__ == "__main__":
    main()
