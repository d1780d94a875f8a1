"""Owns the version number; must not know anything else (setup.cfg reads it, importing no more)."""

__version__ = "0.1.0"
