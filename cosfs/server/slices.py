"""Operations of sliced uploads.

Owns init, data, finish and list (3.7 to 3.11 of the protocol notes) and the part files that are
being put together; must not know HTTP.

Threading: runs in the event loop; writing and hashing happen in the pool.
"""

import asyncio
import base64
import json
import logging
import os
import re
import uuid
from typing import Any

from cosfs.server import codes
from cosfs.server.assembly import Assembly, compute_states
from cosfs.server.calls import (
    Call,
    Context,
    Reply,
    build_file_urls,
    build_new_file,
    check_key,
    check_may_appear,
    check_parents,
    read_biz_attr,
    read_sha,
)
from cosfs.server.codes import Refusal
from cosfs.server.content import Content
from cosfs.server.state import part_name
from cosfs.server.switches import MIB
from cosfs.server.uploads import Upload

logger = logging.getLogger(__name__)

MIN_SLICE_SIZE = 65536
MAX_SLICE_SIZE = 3 * MIB
# Far beyond what anybody tries here, below what a file system can seek to.
MAX_FILE_SIZE = 5 << 40

_DATASHA = re.compile(r"^[0-9a-fA-F]{40}$")


class SliceOperations:
    """The four operations, and the assemblies of uploads that are under way."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._assemblies: dict[str, Assembly] = {}

    async def begin(self, context: Context, call: Call) -> Reply:
        """Begin an upload, or finish it at once when the content is known (instant upload)."""
        fields = call.fields
        check_key(call.key)
        file_size = fields.integer("filesize", missing=codes.NO_FILESIZE)
        if file_size < 0:
            raise Refusal(codes.BAD_PARAMETER, "filesize is negative")
        if file_size > MAX_FILE_SIZE:
            raise Refusal(codes.FILE_TOO_LARGE, f"a file has at most {MAX_FILE_SIZE} bytes")
        sha = read_sha(fields)
        slice_size = _read_slice_size(call, sha)
        parts = _read_parts(call, sha, file_size, slice_size)
        insert_only = fields.switch("insertonly", True)
        biz_attr = read_biz_attr(fields)
        check_parents(context, call.bucket, call.key)
        self._expire(call)
        self._check_path(call, sha, insert_only)
        if sha and context.switches.instant_upload:
            reply = await self._upload_instantly(call, sha, file_size, parts, insert_only, biz_attr)
            if reply is not None:
                return reply
        upload = Upload(
            key=call.key,
            session=_new_session(),
            file_size=file_size,
            slice_size=slice_size,
            sha=sha,
            declared_parts="" if parts is None else json.dumps(parts),
            biz_attr=biz_attr,
            insert_only=insert_only,
            ctime=call.now,
        )
        old = context.state.uploads.get(call.bucket, call.key)
        if old is not None:
            self._assemblies.pop(old.session, None)
        context.state.begin_upload(call.bucket, upload)
        return {
            "session": upload.session,
            "slice_size": slice_size,
            "serial_upload": int(context.switches.serial_upload),
        }

    def _check_path(self, call: Call, sha: str, insert_only: bool) -> None:
        state = self._context.state
        existing = state.objects.get(call.bucket, call.key)
        check_may_appear(existing, insert_only, sha, codes.UNFINISHED_OTHER_SHA)
        unfinished = state.uploads.get(call.bucket, call.key)
        if unfinished is not None and unfinished.sha:
            same = unfinished.sha == sha
            code = codes.UNFINISHED_SAME_SHA if same else codes.UNFINISHED_OTHER_SHA
            raise Refusal(code, "an upload of the path is not finished")

    async def _upload_instantly(
        self,
        call: Call,
        sha: str,
        file_size: int,
        parts: list[str] | None,
        insert_only: bool,
        biz_attr: str,
    ) -> Reply | None:
        context = self._context
        state = context.state
        found = state.objects.find_content(sha, file_size)
        if found is None:
            return None
        name, states = found
        if states is None and len(parts or ()) > 1:
            path = state.files.path(name)
            loop = asyncio.get_running_loop()
            try:
                states = await loop.run_in_executor(context.pool, compute_states, path, MIB)
            except FileNotFoundError:
                return None
            if not state.objects.has_content(name):
                return None
            # Another request may have changed the path meanwhile.
            self._check_path(call, sha, insert_only)
        if not _fit(parts, states):
            raise Refusal(codes.BAD_UPLOADPARTS, "uploadparts are not those of the content")
        existing = state.objects.get(call.bucket, call.key)
        old = state.uploads.get(call.bucket, call.key)
        entry = build_new_file(context, call, biz_attr, existing, MIB)
        if old is not None:
            self._assemblies.pop(old.session, None)
        state.put_instantly(call.bucket, entry, Content(file_size, sha, name, states=states))
        return build_file_urls(context, call, call.target.path)

    async def store(self, context: Context, call: Call) -> Reply:
        """Store one slice."""
        upload = self._find(call)
        offset = call.fields.integer("offset", missing=codes.BAD_PARAMETER)
        if not call.fields.has_content:
            raise Refusal(codes.NO_CONTENT, "filecontent is missing")
        if offset < 0 or offset % upload.slice_size or offset >= upload.file_size:
            raise Refusal(codes.BAD_OFFSET, "offset is not the start of a slice")
        expected = min(upload.slice_size, upload.file_size - offset)
        if call.spool.size > expected:
            raise Refusal(codes.SLICE_TOO_LONG, f"the slice has {expected} bytes")
        if call.spool.size < expected:
            raise Refusal(codes.SLICE_TOO_SHORT, f"the slice has {expected} bytes")
        if context.switches.serial_upload and offset > upload.received:
            raise Refusal(codes.BAD_OFFSET, "slices are sent one after another here")
        data = await call.spool.read()
        assembly = self._assembly(upload)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(context.pool, assembly.store, offset, data)
        self._find(call)  # It may have ended meanwhile.
        context.state.add_slice(upload.session, offset, expected)
        context.pool.submit(_hash_ahead, assembly)
        return {
            "session": upload.session,
            "offset": offset,
            "datalen": expected,
            "serial_upload": int(context.switches.serial_upload),
        }

    async def finish(self, context: Context, call: Call) -> Reply:
        """Turn the slices into the file; only now readers see it."""
        upload = self._find(call)
        file_size = call.fields.integer("filesize", missing=codes.NO_FILESIZE)
        sha = read_sha(call.fields)
        if upload.sha and not sha:
            raise Refusal(codes.FINISH_WITHOUT_SHA, "sha is missing, init had it")
        if file_size != upload.file_size or upload.received != upload.file_size:
            raise Refusal(codes.FILESIZE_DIFFERS, f"{upload.received} bytes of {upload.file_size}")
        loop = asyncio.get_running_loop()
        content = await loop.run_in_executor(context.pool, self._assembly(upload).complete)
        if content is None:
            raise Refusal(codes.FILESIZE_DIFFERS, "a slice is missing")
        if (sha and sha != content.sha1) or (upload.sha and upload.sha != content.sha1):
            raise Refusal(codes.SHA_DIFFERS, "sha is not that of the content")
        if not _fit(upload.parts, content.states):
            raise Refusal(codes.BAD_UPLOADPARTS, "uploadparts are not those of the content")
        upload = self._find(call)
        existing = context.state.objects.get(call.bucket, call.key)
        check_may_appear(
            existing, upload.insert_only, content.sha1, codes.UNFINISHED_OTHER_SHA
        )
        entry = build_new_file(context, call, upload.biz_attr, existing, upload.slice_size)
        context.state.finish_upload(call.bucket, upload, entry, content)
        self._assemblies.pop(upload.session, None)
        return build_file_urls(context, call, call.target.path)

    def describe(self, context: Context, call: Call) -> Reply:
        """Describe an unfinished upload, or a finished file by its addresses."""
        self._expire(call)
        upload = context.state.uploads.get(call.bucket, call.key)
        if upload is not None:
            return {
                "session": upload.session,
                "slice_size": upload.slice_size,
                "filesize": upload.file_size,
                "sha": upload.sha,
                "serial_upload": int(context.switches.serial_upload),
                "listparts": [
                    {"offset": start, "datalen": size}
                    for start, size in context.state.uploads.slices(upload.session)
                ],
            }
        if context.state.objects.get(call.bucket, call.key) is None:
            raise Refusal(codes.NO_FILE, "no such file")
        return build_file_urls(context, call, call.target.path)

    def _find(self, call: Call) -> Upload:
        self._expire(call)
        session = call.fields.text("session", missing=codes.BAD_SESSION)
        upload = self._context.state.uploads.get(call.bucket, call.key)
        if upload is None or upload.session != session:
            raise Refusal(codes.BAD_SESSION, "the path has no such session")
        return upload

    def _assembly(self, upload: Upload) -> Assembly:
        assembly = self._assemblies.get(upload.session)
        if assembly is None:
            state = self._context.state
            for session in self._assemblies.keys() - state.uploads.sessions():
                del self._assemblies[session]
            path = state.files.part_path(part_name(upload.session))
            stored = [start for start, _ in state.uploads.slices(upload.session)]
            assembly = Assembly(path, upload.file_size, upload.slice_size, stored)
            self._assemblies[upload.session] = assembly
        return assembly

    def _expire(self, call: Call) -> None:
        hours = self._context.switches.session_hours
        for session in self._context.state.expire_uploads(call.now - int(hours * 3600)):
            self._assemblies.pop(session, None)


def _hash_ahead(assembly: Assembly) -> None:
    try:
        assembly.hash_ahead()
    except OSError:
        # Whoever finishes the upload reads the same bytes and is told.
        logger.warning("a part file cannot be read", exc_info=True)


def _read_slice_size(call: Call, sha: str) -> int:
    wrong = codes.WRONG_SLICE_SIZE
    slice_size = call.fields.integer("slice_size", missing=wrong, invalid=wrong)
    if sha and slice_size != MIB:
        raise Refusal(wrong, "with sha, slice_size is 1048576")
    if not MIN_SLICE_SIZE <= slice_size <= MAX_SLICE_SIZE:
        raise Refusal(wrong, f"slice_size is {MIN_SLICE_SIZE} to {MAX_SLICE_SIZE}")
    return slice_size


def _read_parts(call: Call, sha: str, file_size: int, slice_size: int) -> list[str] | None:
    """Return the `datasha` of each slice; None when neither sha nor parts were sent."""
    bad = codes.BAD_UPLOADPARTS
    if not call.fields.has("uploadparts"):
        if sha:
            raise Refusal(bad, "sha needs uploadparts")
        return None
    elements = call.fields.array("uploadparts", invalid=bad)
    if not sha:
        raise Refusal(codes.NO_SHA, "uploadparts need sha")
    shas = []
    offset = 0
    for element in elements:
        expected = min(slice_size, file_size - offset)
        if expected <= 0 or _read_part(element) != (offset, expected):
            raise Refusal(bad, "uploadparts are not slice after slice of the file")
        shas.append(element["datasha"].lower())
        offset += expected
    if offset != file_size:
        raise Refusal(bad, "uploadparts do not cover the file")
    if shas and shas[-1] != sha:
        raise Refusal(bad, "the last datasha is the sha of the whole file")
    return shas


def _read_part(element: Any) -> tuple[int, int] | None:
    if not isinstance(element, dict):
        return None
    datasha = element.get("datasha")
    if not isinstance(datasha, str) or not _DATASHA.match(datasha):
        return None
    try:
        return int(element.get("offset", "")), int(element.get("datalen", ""))
    except (TypeError, ValueError, OverflowError):
        return None


def _fit(parts: list[str] | None, states: list[str] | None) -> bool:
    """Tell whether declared parts agree with the content; unknown states agree with all.

    The last element is the whole file's sha, which is compared elsewhere.
    """
    if parts is None or states is None:
        return True
    return len(parts) == len(states) and parts[:-1] == states[: len(parts) - 1]


def _new_session() -> str:
    # Like the real ones it holds characters that a careless client forgets to quote.
    return f"{uuid.uuid4()}+{base64.b64encode(os.urandom(8)).decode()}"
