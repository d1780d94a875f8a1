"""The families of checks, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable

from tests.mount.posix import content, names, opening, path_errors, renaming, status
from tests.mount.posix.tester import Tester

FAMILIES: dict[str, Callable[[Tester], None]] = {
    "paths": path_errors.run,
    "chmod": status.chmod,
    "chown": status.chown,
    "truncate": status.truncate,
    "utimensat": status.utimensat,
    "mkdir": names.mkdir,
    "rmdir": names.rmdir,
    "unlink": names.unlink,
    "symlink": names.symlink,
    "mknod": names.mknod,
    "link": names.link,
    "rename": renaming.run,
    "open": opening.run,
    "content": content.run,
}
