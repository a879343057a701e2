"""``python -m minimoto`` is the command ``minimoto``."""

import sys

from minimoto.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
