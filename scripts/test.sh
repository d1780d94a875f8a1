#!/bin/sh
# Run the tests: scripts/test.sh [--long] [what pytest takes]
set -eu
. "$(dirname "$0")/setup.sh"
need_system libfuse2 fuse3 attr rsync
need_python test
exec .venv/bin/python -m pytest "$@"
