"""The parts of ``scripts/bench.py``: suites of measurements, and what they stand on.

The suites (``tools``, ``cloud``, ``data``, ``small``, ``names``, ``memory``) do not use each other;
``command`` puts all of it together.
"""
