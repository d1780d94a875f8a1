"""Owns the adapter to FUSE: translation only; must not decide anything about files."""
