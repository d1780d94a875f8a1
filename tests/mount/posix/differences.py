"""Where the mount is not a local disk: every check that may fail, and why.

A check of a table that fails and is not here is a bug; so is one that is here and passes.
"""

from __future__ import annotations

_NO_LINKS = "a bucket has one name per object: hard links are refused at once (EPERM)"
_NO_FOLDER = "libfuse 2 asks for an open folder by its path, which is gone: ENOENT"

#: By the beginning of the identity of a check.
DIFFERENCES = {
    "link: link('f', 'g') by root": _NO_LINKS,
    "link: nlink of 'f'": _NO_LINKS,
    "link: stat('g') by root": _NO_LINKS,
    "rmdir/of a folder that is open: type of the removed folder": _NO_FOLDER,
    "rmdir/of a folder that is open: nlink of the removed folder": _NO_FOLDER,
}


def reason_of(identity: str) -> str | None:
    """Return the beginning in ``DIFFERENCES`` that a check has, if any."""
    return next((start for start in DIFFERENCES if identity.startswith(start)), None)
