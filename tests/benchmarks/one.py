"""Run one benchmark in this process: ``python -m tests.benchmarks.one NAME FILE.json [--short]``."""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("file", type=Path)
    parser.add_argument("--short", action="store_true")
    arguments = parser.parse_args()
    result = import_module(f"tests.benchmarks.{arguments.name}").run(arguments.short)
    arguments.file.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
