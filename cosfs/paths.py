"""Owns the rules of fs_paths, the spelling FUSE gives: ``/``, ``/a``, ``/a/b``; must not know keys.

An fs_path begins with a slash, ends in none (but for the root) and has no empty, ``.`` or ``..``
part. It may hold lone surrogates: bytes that are not UTF-8, as ``os.fsdecode`` spells them. How a
path is spelt on a server (its key) is known to the stores alone.
"""

from __future__ import annotations

import os

ROOT = "/"

#: Linux's limit for one name, in bytes (NAME_MAX).
NAME_MAX = 255

#: Linux's limit for a path, in bytes, its ending NUL counted (PATH_MAX).
PATH_MAX = 4096


def parent(path: str) -> str:
    """Return the folder that holds ``path``; the root is its own parent."""
    head = path.rpartition("/")[0]
    return head or ROOT


def base(path: str) -> str:
    """Return the last name of ``path``; empty for the root."""
    return path.rpartition("/")[2]


def split(path: str) -> tuple[str, str]:
    """Return ``(parent, base)``."""
    head, _, tail = path.rpartition("/")
    return head or ROOT, tail


def join(folder: str, name: str) -> str:
    """Return the path of ``name`` in ``folder``."""
    return f"/{name}" if folder == ROOT else f"{folder}/{name}"


def is_inside(path: str, folder: str) -> bool:
    """Tell whether ``path`` lies below ``folder`` (a path is not inside itself)."""
    if folder == ROOT:
        return path != ROOT
    return path.startswith(folder + "/")


def moved(path: str, old: str, new: str) -> str:
    """Return the new name of ``path``, which is ``old`` or lies inside it, once that is ``new``."""
    if path == old:
        return new
    return join(new, path[len(old) :].lstrip("/"))


def parts(path: str) -> list[str]:
    """Return the names that ``path`` is made of; none for the root."""
    return [] if path == ROOT else path[1:].split("/")


def ancestors(path: str) -> list[str]:
    """Return the folders above ``path`` but the root, the nearest first."""
    found = []
    while (path := parent(path)) != ROOT:
        found.append(path)
    return found


def name_length(name: str) -> int:
    """Return the length of ``name`` in bytes, as Linux counts it."""
    return len(os.fsencode(name))
