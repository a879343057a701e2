#!/usr/bin/env python3
"""See ``python minimoto_client.py --help``."""

import sys

from minimoto.cli.entry import script

if __name__ == "__main__":
    sys.exit(script("submit"))
