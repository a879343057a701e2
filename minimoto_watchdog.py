#!/usr/bin/env python3
"""See ``python minimoto_watchdog.py --help``."""

import sys

from minimoto.cli.entry import script

if __name__ == "__main__":
    sys.exit(script("watchdog"))
