"""All in which a mount may differ from a local disk: nowhere else is a difference allowed.

A check that lets one pass says which it is, so that what no check needs any more is noticed.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum


class Allowed(Enum):
    """A difference, and what it is."""

    TIMES = "atime and ctime are the mount's own: not compared"
    INODE = "st_ino is made from the path, so it changes with a rename: not compared"
    FOLDER_SIZE = "the size of a folder is 0"
    FOLDER_LINKS = "nlink of a folder counts the subfolders that were listed or made on this mount"
    FOLDER_MTIME = (
        "mtime of a folder moves with its names on this mount only; the next one shows what a"
        " program has set, or anything"
    )
    FILE_MTIME = (
        "the next mount may show the second of a file's last store or rename instead of its mtime,"
        " but never of one that a program has set"
    )
    LISTED_TYPE = "the type of a listed name may be left out where it would cost a request"
    FAULT = "a call for which a request failed fails with what that says"
    DONE_UNANSWERED = "a call that failed for want of an answer may be done all the same"
    HALF_RENAME = (
        "a rename of a folder that failed may be done in part until the next mount takes it back"
    )
    UNSTORED = (
        "content that cannot be stored is told by close and fsync, and given up with the last"
        " descriptor: the name shows what the store has, the content is pending"
    )
    LATE_EXCLUSIVE = "O_EXCL may be refused by close or fsync only"
    LOST_BY_KILL = "a kill loses content that was not stored"
    NAME_BACK = (
        "a name that was taken from an open file for a rename which failed, or less than half a"
        " second before a kill, may come back late, without changes of attributes made meanwhile"
    )
    STRAYED = (
        "an open file that a rename failed to replace is not found by calls that libfuse makes of"
        " its descriptor's path"
    )
    KERNEL_MEMORY = (
        "the kernel remembers for a second at most what nobody tells it of: a name that is gone"
        " with content that was given up, or that came back"
    )
    FOREIGN_NAME = (
        "a name that somebody else has changed shows what was there before until the TTL is over"
        " (and listings have caught up), and as long as it is open and was written to"
    )
    FOREIGN_CONTENT = (
        "who reads or stores the earlier content of a file that somebody else has changed gets"
        " ESTALE; what it was is pending then"
    )
    LAST_WRITER = (
        "within the TTL, or where nothing of what somebody else has changed is kept, the last"
        " writer wins"
    )


#: How often each was needed in this process.
NEEDED: Counter[Allowed] = Counter()


def allow(difference: Allowed, is_there: bool = True) -> bool:
    """Let a difference pass if ``is_there``, and return that."""
    NEEDED[difference] += is_there
    return is_there
