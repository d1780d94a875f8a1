"""Owns getting changed pages of mapped files out of the kernel; must not know what files hold.

What a program changes through a shared mapping reaches the file system when the program asks for
it, closes any descriptor of the file, or ends; else half a minute later. A mount that ends while
programs still run must fetch it: closing a descriptor of its own does.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from collections.abc import Callable, Iterable
from typing import Final

log = logging.getLogger(__name__)

#: Seconds that a mount which is to end waits for its pages.
_PATIENCE_S: Final = 10.0

_libc: Final = ctypes.CDLL(None, use_errno=True)


def write_back(mountpoint: bytes, mappable: Callable[[], Iterable[str]]) -> None:
    """Return when the kernel has written all changed pages of the files, or patience ends.

    ``mappable`` tells the paths of the files, inside the mount, that may have such pages. The mount
    must be answering. Of programs that go on changing their mappings, what comes later is lost.
    """
    fetching = threading.Thread(
        target=_write_back, args=(mountpoint, mappable), name="pages", daemon=True
    )
    fetching.start()
    fetching.join(_PATIENCE_S)
    if fetching.is_alive():
        log.warning("changes of mapped files may be lost: writing them back takes too long")


def _write_back(mountpoint: bytes, mappable: Callable[[], Iterable[str]]) -> None:
    try:
        # Begins with all at once; the kernel does not wait for a FUSE file system here.
        _syncfs(mountpoint)
        for path in mappable():
            _close_once(mountpoint + path.encode("utf-8", "surrogateescape"))
    except OSError as error:
        log.warning("changes of mapped files may be lost: %s", error)


def _syncfs(mountpoint: bytes) -> None:
    descriptor = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


def _close_once(path: bytes) -> None:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError as error:
        log.warning("changes that were mapped may be lost of %r: %s", path, error)
