"""Lets ``python -m cosfs.server`` do what ``cosfs serve`` does."""

import sys

from cosfs.server.command import main

if __name__ == "__main__":
    sys.exit(main())
