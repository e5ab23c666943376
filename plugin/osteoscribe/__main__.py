"""``python -m osteoscribe``."""

import sys

from osteoscribe.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
