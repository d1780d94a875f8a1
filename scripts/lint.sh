#!/bin/sh
# Check style, types and the arrows between the layers.
set -eu
. "$(dirname "$0")/setup.sh"
need_python test
.venv/bin/flake8 cosfs scripts tests
.venv/bin/isort --check-only cosfs scripts tests
.venv/bin/mypy
.venv/bin/python -m pytest -q tests/unit/test_layers.py
