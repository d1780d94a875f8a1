"""Operations on files.

Owns upload, stat, update, delete, move and copy (3.6, 3.12 to 3.14 of the protocol notes); must not
know HTTP or slices.
"""

import re
from dataclasses import replace

from cosfs.server import codes
from cosfs.server.addresses import normalise_path
from cosfs.server.calls import (
    Call,
    Context,
    Reply,
    build_file_urls,
    build_new_file,
    check_key,
    check_may_appear,
    check_parents,
    check_writable,
    read_biz_attr,
    read_sha,
)
from cosfs.server.codes import Refusal
from cosfs.server.objects import AUTHORITIES, StoredObject

# XML-era limits; none are documented for this protocol (6.1).
MAX_META_BYTES = 2048
MAX_HEADERS_BYTES = 4096

_HEADERS = {
    name.lower(): name
    for name in (
        "Cache-Control",
        "Content-Type",
        "Content-Disposition",
        "Content-Language",
        "Content-Encoding",
    )
}
_META = re.compile(r"^x-cos-meta-[!#$%&'*+\-.^_`|~0-9a-z]+$")
_UNPRINTABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f]")


async def upload(context: Context, call: Call) -> Reply:
    """Store a file in one request."""
    fields = call.fields
    check_key(call.key)
    insert_only = fields.switch("insertonly", True)
    biz_attr = read_biz_attr(fields)
    sha = read_sha(fields)
    if not fields.has_content:
        raise Refusal(codes.NO_CONTENT, "filecontent is missing")
    if call.spool.is_too_large:
        limit = context.switches.max_upload_bytes
        raise Refusal(codes.FILE_TOO_LARGE, f"an upload has at most {limit} bytes")
    check_parents(context, call.bucket, call.key)
    content = await call.spool.settle()
    if sha and sha != content.sha1:
        raise Refusal(codes.SHA_DIFFERS, "sha is not that of the content")
    # From here to the change nothing waits: what is checked is what is replaced.
    existing = context.state.objects.get(call.bucket, call.key)
    check_may_appear(existing, insert_only, content.sha1, codes.UNFINISHED_OTHER_SHA)
    unfinished = context.state.uploads.get(call.bucket, call.key)
    if unfinished is not None:
        same = unfinished.sha == content.sha1
        code = codes.UNFINISHED_SAME_SHA if same else codes.UNFINISHED_OTHER_SHA
        raise Refusal(code, "an unfinished upload occupies the path")
    entry = build_new_file(context, call, biz_attr, existing)
    context.state.put_file(call.bucket, entry, content)
    return build_file_urls(context, call, call.target.path)


def stat_file(context: Context, call: Call) -> Reply:
    """Describe a file, finished or not."""
    entry = context.state.find(call.bucket, call.key)
    if entry is None:
        raise Refusal(codes.NO_FILE, "no such file")
    urls = build_file_urls(context, call, call.target.path)
    return {
        "access_url": urls["access_url"],
        "authority": entry.authority,
        "biz_attr": entry.biz_attr,
        "ctime": entry.ctime,
        "custom_headers": dict(entry.headers),
        "filelen": entry.received if entry.is_unfinished else entry.size,
        "filesize": entry.size,
        "forbid": entry.forbid,
        "mtime": entry.mtime,
        "preview_url": "",
        "sha": entry.sha,
        "slicesize": entry.slice_size,
        "source_url": urls["source_url"],
    }


def update_file(context: Context, call: Call) -> Reply:
    """Change what was sent; `flag` is ignored; the times stay."""
    entry = _find_finished(context, call)
    fields = call.fields
    if fields.has("biz_attr"):
        entry = replace(entry, biz_attr=read_biz_attr(fields))
    authority = fields.text("authority")
    if authority:
        if authority not in AUTHORITIES:
            raise Refusal(codes.BAD_PARAMETER, f"authority is one of {', '.join(AUTHORITIES)}")
        entry = replace(entry, authority=authority)
    if fields.has("forbid"):
        forbid = fields.integer("forbid", missing=codes.BAD_PARAMETER)
        if not 0 <= forbid <= 3:
            raise Refusal(codes.BAD_PARAMETER, "forbid is 0 to 3")
        entry = replace(entry, forbid=forbid)
    if fields.has("custom_headers"):
        headers = _read_headers(call)
        if context.switches.merge_headers:
            headers = {**entry.headers, **headers}
        _check_headers_size(headers)
        entry = replace(entry, headers=headers)
    context.state.update(call.bucket, entry)
    return {}


def _read_headers(call: Call) -> dict[str, str]:
    headers = {}
    for name, value in call.fields.mapping("custom_headers").items():
        lower = name.lower()
        spelt = _HEADERS.get(lower) or (lower if _META.match(lower) else None)
        if spelt is None:
            raise Refusal(codes.BAD_PARAMETER, f"no custom header: {name[:60]!r}")
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or _UNPRINTABLE.search(value):
            raise Refusal(codes.BAD_PARAMETER, f"{spelt} has a value no header can have")
        headers[spelt] = value
    return headers


def _check_headers_size(headers: dict[str, str]) -> None:
    try:
        sizes = {name: len(name) + len(value.encode()) for name, value in headers.items()}
    except UnicodeEncodeError:
        raise Refusal(codes.BAD_PARAMETER, "a custom header is not text") from None
    if any(size > MAX_META_BYTES for name, size in sizes.items() if name.startswith("x-cos-meta-")):
        raise Refusal(codes.BAD_PARAMETER, f"x-cos-meta-*: {MAX_META_BYTES} bytes at most")
    if sum(sizes.values()) > MAX_HEADERS_BYTES:
        raise Refusal(codes.BAD_PARAMETER, f"custom headers have {MAX_HEADERS_BYTES} bytes at most")


def delete_file(context: Context, call: Call) -> Reply:
    """Remove a file, or the unfinished upload that occupies its path."""
    entry = context.state.find(call.bucket, call.key)
    if entry is None:
        raise Refusal(codes.NO_FILE, "no such file")
    check_writable(entry)
    context.state.delete(call.bucket, call.key)
    return {}


def move_file(context: Context, call: Call) -> Reply:
    """Give a file another key; content, attributes and headers travel with it."""
    entry, target = _prepare_transfer(context, call)
    check_writable(entry)
    if target.key != call.key:
        context.state.move(call.bucket, call.key, target)
    return {}


def copy_file(context: Context, call: Call) -> Reply:
    """Store a file under another key as well."""
    _, target = _prepare_transfer(context, call)
    if target.key != call.key:
        context.state.put_known(call.bucket, target)
    return {}


def _find_finished(context: Context, call: Call) -> StoredObject:
    entry = context.state.find(call.bucket, call.key)
    if entry is None:
        raise Refusal(codes.NO_FILE, "no such file")
    if entry.is_unfinished:
        raise Refusal(codes.UNFINISHED_OTHER_SHA, "the file is not uploaded completely")
    return entry


def _prepare_transfer(context: Context, call: Call) -> tuple[StoredObject, StoredObject]:
    overwrite = call.fields.switch("to_over_write", False)
    key = _read_target_key(context, call)
    entry = _find_finished(context, call)
    if key == call.key:
        if not overwrite:
            raise Refusal(codes.FILE_EXISTS, "the target is the source")
        return entry, entry
    check_parents(context, call.bucket, key)
    existing = context.state.find(call.bucket, key)
    unfinished_code = codes.UNFINISHED_OTHER_SHA if overwrite else codes.FILE_EXISTS
    # Never -4018 here: that code is about content that was sent.
    check_may_appear(existing, not overwrite, "", unfinished_code)
    if context.state.uploads.get(call.bucket, key) is not None:
        raise Refusal(unfinished_code, "an unfinished upload occupies the target")
    return entry, replace(entry, key=key, ctime=call.now, mtime=call.now)


def _read_target_key(context: Context, call: Call) -> bytes:
    target = call.fields.text("dest_fileid", missing=codes.BAD_PARAMETER)
    if not target:
        raise Refusal(codes.BAD_PARAMETER, "dest_fileid is empty")
    if not target.startswith("/"):
        target = call.target.path.rpartition("/")[0] + "/" + target
    target = normalise_path(target)
    if target.endswith("/"):
        raise Refusal(codes.PATH_SURPLUS_SLASH, "a file's path does not end with a slash")
    segments = target.split("/", 3)
    if len(segments) == 4 and segments[1] == context.account.appid:
        if segments[2] != call.bucket and segments[2] in context.state.buckets():
            raise Refusal(codes.ACROSS_BUCKETS, "the target is in another bucket")
    key = target[1:].encode()
    check_key(key)
    return key
