"""Runs the command line as ``python -m cosfs``."""

import sys

from cosfs.cli import main

if __name__ == "__main__":
    sys.exit(main())
