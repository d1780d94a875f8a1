"""Operations on folders, and listings.

Owns create, stat, update, list and delete of folders (3.1 to 3.5 of the protocol notes) and the
list of buckets; must not know HTTP or files' contents.
"""

from cosfs.server import codes
from cosfs.server.addresses import quote_path
from cosfs.server.calls import (
    Call,
    Context,
    Reply,
    build_file_base,
    check_key,
    check_parents,
    read_biz_attr,
)
from cosfs.server.codes import Refusal
from cosfs.server.listing import ListEntry, ListRequest, decode_cursor, encode_cursor, list_page
from cosfs.server.objects import INHERITED, StoredObject
from cosfs.server.state import key_after


def create_folder(context: Context, call: Call) -> Reply:
    """Store a marker. Parents are not made."""
    _refuse_root(call)
    check_key(call.key)
    biz_attr = read_biz_attr(call.fields)
    existing = context.state.objects.get(call.bucket, call.key)
    if existing is not None:
        if context.switches.create_existing_succeeds:
            return {"ctime": existing.ctime}
        raise Refusal(codes.FOLDER_EXISTS, "the folder exists")
    check_parents(context, call.bucket, call.key)
    marker = StoredObject(call.key, ctime=call.now, mtime=call.now, biz_attr=biz_attr)
    context.state.put_marker(call.bucket, marker)
    return {"ctime": call.now}


def stat_folder(context: Context, call: Call) -> Reply:
    """Describe a marker, or the root; virtual folders are not found."""
    if not call.key:
        ctime = context.state.objects.bucket_ctime(call.bucket)
        return {"biz_attr": "", "ctime": ctime, "mtime": ctime}
    marker = _find_marker(context, call)
    return {"biz_attr": marker.biz_attr, "ctime": marker.ctime, "mtime": marker.mtime}


def update_folder(context: Context, call: Call) -> Reply:
    """Change `biz_attr`, when it was sent."""
    _refuse_root(call)
    marker = _find_marker(context, call)
    for name in ("authority", "custom_headers", "forbid"):
        if call.fields.has(name):
            raise Refusal(codes.BAD_PARAMETER, f"a folder has no {name}")
    if call.fields.has("biz_attr"):
        biz_attr = read_biz_attr(call.fields)
        changed = StoredObject(marker.key, marker.ctime, marker.mtime, biz_attr)
        context.state.update(call.bucket, changed)
    return {}


def delete_folder(context: Context, call: Call) -> Reply:
    """Remove the marker; content stays, or is a reason to refuse, by a switch."""
    _refuse_root(call)
    _find_marker(context, call)
    if context.switches.refuse_nonempty_delete and context.state.has_below(call.bucket, call.key):
        raise Refusal(codes.FOLDER_NOT_EMPTY, "the folder is not empty")
    context.state.delete(call.bucket, call.key)
    return {}


def _refuse_root(call: Call) -> None:
    if not call.key:
        raise Refusal(codes.PATH_INVALID, "not for the root of a bucket")


def _find_marker(context: Context, call: Call) -> StoredObject:
    marker = context.state.objects.get(call.bucket, call.key)
    if marker is None:
        raise Refusal(codes.NO_FILE, "no such folder")
    return marker


def list_folder(context: Context, call: Call) -> Reply:
    """Return one page of a folder; a missing folder is an empty one."""
    folder, _, prefix = call.target.path[1:].rpartition("/")
    folder_key = folder.encode() + b"/" if folder else b""
    fields = call.fields
    request = ListRequest(
        bucket=call.bucket,
        folder=folder_key,
        prefix=prefix.encode(),
        num=_read_num(context, call),
        delimiter=fields.text("delimiter", "/").encode(),
        cursor=decode_cursor(fields.text("context"), folder_key),
        marker_slot=context.switches.marker_slot,
    )
    page = list_page(lambda start, end: context.view.scan(call.bucket, start, end), request)
    base = build_file_base(context, call) + quote_path("/" + folder_key.decode())
    return {
        "context": "" if page.cursor is None else encode_cursor(page.cursor),
        "listover": page.cursor is None,
        "infos": [
            _describe_file(line.entry, line.name.decode(), base)
            if line.entry is not None and not line.entry.is_folder
            else _describe_folder(context, call, folder_key, line)
            for line in page.entries
        ],
    }


def _read_num(context: Context, call: Call) -> int:
    invalid = codes.LIST_NUM_INVALID
    num = call.fields.integer("num", missing=invalid, invalid=invalid)
    if num < 1:
        raise Refusal(codes.LIST_NUM_TOO_SMALL, "num is at least 1")
    if num > context.switches.page_size:
        raise Refusal(codes.LIST_NUM_TOO_LARGE, f"num is at most {context.switches.page_size}")
    return num


def _describe_file(entry: StoredObject, name: str, base: str) -> Reply:
    url = base + quote_path(name)
    info: Reply = {
        "name": name,
        "ctime": entry.ctime,
        "mtime": entry.mtime,
        "filesize": entry.size,
        "filelen": entry.received if entry.is_unfinished else entry.size,
        "sha": entry.sha,
        "access_url": url,
        "source_url": url,
    }
    if entry.authority != INHERITED:
        info["authority"] = entry.authority
    return info


def _describe_folder(context: Context, call: Call, folder: bytes, line: ListEntry) -> Reply:
    name = line.name.decode()
    if line.entry is not None:
        return {"name": name, "ctime": line.entry.ctime, "mtime": line.entry.mtime}
    return {"name": name, **_virtual_times(context, call, folder + line.name)}


def _virtual_times(context: Context, call: Call, prefix: bytes) -> Reply:
    kind = context.switches.virtual_times
    if kind == "omit":
        return {}
    time = 0
    if kind == "newest":
        time = context.state.objects.newest_mtime(call.bucket, prefix, key_after(prefix))
    return {"ctime": time, "mtime": time}


def list_buckets(context: Context, call: Call) -> Reply:
    """Return every bucket as a folder, in one page, whatever `num` and `context` say."""
    buckets = sorted(context.state.buckets())
    infos = []
    for bucket in buckets:
        ctime = context.state.objects.bucket_ctime(bucket)
        infos.append({"name": f"{bucket}/", "ctime": ctime, "mtime": ctime})
    return {"context": "", "listover": True, "infos": infos}
