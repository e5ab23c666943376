"""A small disk of its own, in a mount namespace that nobody else sees."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class SmallDisk:
    """A tmpfs.

    Parameters
    ----------
    inside
        Where it is mounted, for processes that are started with `prefix`.
    outside
        The same folder, for every process.
    prefix
        Command that runs commands where the disk is mounted.
    """

    inside: Path
    outside: Path
    prefix: tuple[str, ...]

    def free_bytes(self) -> int:
        """Space that is left."""
        space = os.statvfs(self.outside)
        return space.f_bavail * space.f_frsize

    def fill(self, leave: int) -> None:
        """Take all space but so many bytes."""
        with (self.outside / "ballast").open("ab") as file, contextlib.suppress(OSError):
            while (much := self.free_bytes() - leave) > 0:
                file.write(bytes(min(much, 1 << 20)))
                file.flush()

    def clear(self) -> None:
        """Give the space back."""
        (self.outside / "ballast").unlink()


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """A disk of so many MB at a folder; skipped where none can be mounted."""
    folder.mkdir(parents=True)
    script = 'mount -t tmpfs -o size="$1"m tmpfs "$0" && echo up && exec sleep 600'
    holder = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script, str(folder), str(megabytes)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert holder.stdout is not None
        if holder.stdout.readline() != b"up\n":
            pytest.skip("no mount namespace can be made here (needs root)")
        yield SmallDisk(
            inside=folder,
            outside=Path(f"/proc/{holder.pid}/root{folder}"),
            prefix=("nsenter", "-t", str(holder.pid), "--mount"),
        )
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(holder.pid, signal.SIGKILL)
        holder.communicate()
