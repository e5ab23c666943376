"""On what a benchmark ran: processor, memory, load, versions of what is compared."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "numpy", "pydicom", "pynetdicom", "SimpleITK", "highdicom", "SQLAlchemy", "dbos", "pyjpegls",
    "pylibjpeg-openjpeg", "python-gdcm",
)  # fmt: skip
PROGRAMS = {"DCMTK": ("storescp", "--version"), "Orthanc": ("Orthanc", "--version")}
PEERS = {"pyradiomics": "pyradiomics", "MIRP": "mirp"}
"""Peers with an environment of their own: name, and the name of their package."""


def peer(name: str) -> str | None:
    """The interpreter of a peer's own environment, as given on the command line; None where none was."""
    return os.environ.get(f"BENCHMARK_{name.upper()}") or None


def machine() -> dict[str, str]:
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    for name, command in PROGRAMS.items():
        found[name] = _program_version(command)
    for name, package in PEERS.items():
        found[name] = _peer_version(name, package)
    return found


def _processor() -> str:
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def _program_version(command: tuple[str, ...]) -> str:
    path = shutil.which(command[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        return "not installed"
    done = subprocess.run([path, *command[1:]], capture_output=True, text=True, check=False)
    number = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return number[0] if number else "unknown version"


def _peer_version(name: str, package: str) -> str:
    python = peer(name)
    if python is None:
        return f"not compared (--{name.lower()} PYTHON)"
    ask = f"from importlib.metadata import version; print(version({package!r}))"
    try:
        done = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return "does not start"
    return done.stdout.strip()
