"""POSIX semantics over an object store: path operations, open files, cache, reading, writing."""
