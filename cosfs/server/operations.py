"""The table of operations.

Owns which operation wants which method, signature and kind of path (3.0 of the protocol notes);
must not know HTTP or what the operations do.
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from cosfs.server import codes, files, folders
from cosfs.server.calls import Call, Context, Reply
from cosfs.server.codes import Refusal
from cosfs.server.signatures import Signature
from cosfs.server.slices import SliceOperations

Handler = Callable[[Context, Call], Reply | Awaitable[Reply]]

# "either": the trailing slash alone selects folder or file.
PathKind = Literal["file", "folder", "either", "any"]


@dataclass(frozen=True)
class Operation:
    """One row; `folder_run` is what runs for a folder path."""

    method: str
    path: PathKind
    run: Handler
    folder_run: Handler | None = None
    wants_once: bool = False


class Operations:
    """All operations of one server."""

    def __init__(self, context: Context) -> None:
        self._context = context
        slices = SliceOperations(context)
        move_wants_once = context.switches.move_wants_once
        self._table = {
            "create": Operation("POST", "folder", folders.create_folder),
            "stat": Operation("GET", "either", files.stat_file, folders.stat_folder),
            "list": Operation("GET", "any", folders.list_folder),
            "update": Operation(
                "POST", "either", files.update_file, folders.update_folder, wants_once=True
            ),
            "delete": Operation(
                "POST", "either", files.delete_file, folders.delete_folder, wants_once=True
            ),
            "upload": Operation("POST", "file", files.upload),
            "upload_slice_init": Operation("POST", "file", slices.begin),
            "upload_slice_data": Operation("POST", "file", slices.store),
            "upload_slice_finish": Operation("POST", "file", slices.finish),
            "upload_slice_list": Operation("POST", "file", slices.describe),
            "move": Operation("POST", "file", files.move_file, wants_once=move_wants_once),
            "copy": Operation("POST", "file", files.copy_file, wants_once=move_wants_once),
        }

    async def run(self, call: Call, op: str, method: str, signature: Signature) -> Reply:
        """Run an operation.

        Raises:
            Refusal: -5980, -5972, -5996, -75, -160, -161, or what the operation itself refuses.
        """
        if not op:
            raise Refusal(codes.NO_OP, "op is missing")
        operation = self._table.get(op)
        if operation is None:
            raise Refusal(codes.UNKNOWN_OP, f"unknown op {op[:40]!r}")
        if method != operation.method:
            raise Refusal(codes.BAD_METHOD, f"{op} is sent with {operation.method}")
        if operation.wants_once and not signature.is_once:
            raise Refusal(codes.SIGN_KIND, f"{op} wants a single-use signature")
        if call.target.kind == "buckets":
            if op != "list":
                raise Refusal(codes.BAD_URL, "the address names no bucket")
            return folders.list_buckets(self._context, call)
        handler = _choose(operation, call.target.path.endswith("/"))
        reply = handler(self._context, call)
        return await reply if inspect.isawaitable(reply) else reply


def _choose(operation: Operation, is_folder: bool) -> Handler:
    if operation.path == "folder" and not is_folder:
        raise Refusal(codes.PATH_WITHOUT_SLASH, "a folder's path ends with a slash")
    if operation.path == "file" and is_folder:
        raise Refusal(codes.PATH_SURPLUS_SLASH, "a file's path does not end with a slash")
    if operation.folder_run is not None and is_folder:
        return operation.folder_run
    return operation.run
