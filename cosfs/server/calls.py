"""What every operation is given, and the checks that several of them share.

Owns `Call`, `Context` and those checks; must not know HTTP or the table of operations.
"""

import re
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from cosfs.server import codes
from cosfs.server.addresses import Target, build_download_base, build_urls
from cosfs.server.codes import Refusal
from cosfs.server.content import Spool
from cosfs.server.forms import Fields
from cosfs.server.listing import DelayedView
from cosfs.server.objects import INHERITED, StoredObject
from cosfs.server.signatures import Account
from cosfs.server.state import State
from cosfs.server.switches import Switches

Reply = dict[str, Any]

MAX_KEY_BYTES = 850
MAX_BIZ_ATTR_BYTES = 1024

_SHA = re.compile(r"^[0-9a-fA-F]{40}$")


@dataclass(frozen=True)
class Context:
    """What operations work on, the same for every request."""

    state: State
    view: DelayedView
    account: Account
    switches: Switches
    pool: Executor
    clock: Callable[[], float]


@dataclass(slots=True)
class Call:
    """One request, read and verified."""

    target: Target
    fields: Fields
    spool: Spool
    now: int
    base_url: str

    @property
    def bucket(self) -> str:
        """The bucket."""
        return self.target.bucket

    @property
    def key(self) -> bytes:
        """The key of the file or folder."""
        return self.target.key


def check_key(key: bytes) -> None:
    """Refuse a key that is too long to be stored (-199)."""
    if len(key) > MAX_KEY_BYTES:
        raise Refusal(codes.PATH_TOO_LONG, f"a key has at most {MAX_KEY_BYTES} bytes")


def read_biz_attr(fields: Fields) -> str:
    """Return `biz_attr`, empty when it was not sent (-5999 when it is too long)."""
    biz_attr = fields.text("biz_attr")
    if len(biz_attr.encode()) > MAX_BIZ_ATTR_BYTES:
        raise Refusal(codes.BAD_PARAMETER, f"biz_attr has at most {MAX_BIZ_ATTR_BYTES} bytes")
    return biz_attr


def read_sha(fields: Fields) -> str:
    """Return `sha` in lower case, empty when it was not sent (-168 when it is none)."""
    sha = fields.text("sha")
    if sha and not _SHA.match(sha):
        raise Refusal(codes.INVALID_SHA, "sha is not 40 hexadecimal digits")
    return sha.lower()


def check_parents(context: Context, bucket: str, key: bytes) -> None:
    """Refuse (-197) what has no parent folder, where the switch demands one."""
    if not context.switches.parents_required:
        return
    parent = key.rstrip(b"/").rpartition(b"/")[0] + b"/"
    if parent == b"/":
        return
    state = context.state
    if state.objects.get(bucket, parent) is None and not state.has_below(bucket, parent):
        raise Refusal(codes.NO_FILE, "the parent folder does not exist")


def check_may_appear(
    existing: StoredObject | None, insert_only: bool, sha: str, unfinished_code: codes.Code
) -> None:
    """Refuse to store a file where something is already.

    Raises:
        Refusal: -4018 or -177 when a file is there and `insert_only` says so, `unfinished_code`
            when an unfinished upload is.
    """
    if existing is None:
        return
    if existing.is_unfinished:
        raise Refusal(unfinished_code, "an unfinished upload occupies the path")
    if insert_only:
        same = bool(sha) and existing.sha == sha
        raise Refusal(codes.SAME_FILE_EXISTS if same else codes.FILE_EXISTS, "the file exists")
    check_writable(existing)


def check_writable(entry: StoredObject) -> None:
    """Refuse (-289) to change a file whose `forbid` says no."""
    if entry.forbid & 2:
        raise Refusal(codes.WRITE_FORBIDDEN, "the file is banned from being written")


def build_new_file(
    context: Context, call: Call, biz_attr: str, existing: StoredObject | None, slice_size: int = 0
) -> StoredObject:
    """Build the row of an uploaded file; what survives an overwrite is a switch."""
    keeps = existing is not None and context.switches.overwrite_keeps
    return StoredObject(
        key=call.key,
        ctime=call.now,
        mtime=call.now,
        biz_attr=biz_attr,
        slice_size=slice_size,
        authority=existing.authority if existing and keeps else INHERITED,
        forbid=existing.forbid if existing and keeps else 0,
        headers=existing.headers if existing and keeps else {},
    )


def build_file_base(context: Context, call: Call) -> str:
    """Build the address that downloads of the call's bucket begin with."""
    suffix = context.switches.download_suffix
    return build_download_base(call.base_url, suffix, context.account.appid, call.bucket)


def build_file_urls(context: Context, call: Call, path: str) -> dict[str, str]:
    """Build the four addresses of a file."""
    suffix = context.switches.download_suffix
    return build_urls(call.base_url, suffix, context.account.appid, call.bucket, path)
