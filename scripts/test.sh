#!/bin/sh
# Run the tests: scripts/test.sh [--long] [what pytest takes]
set -eu
. "$(dirname "$0")/setup.sh"
need_system libfuse2 fuse3 attr rsync git make vim-tiny
need_python test
# Several processes, as most tests wait for something; those of one file share its fixtures.
exec .venv/bin/python -m pytest -n 4 --dist loadfile "$@"
