"""The control pages under `/_server/`.

Owns the counters and what the pages answer; must not know HTTP.
"""

import json
from typing import Any

from cosfs.server.faults import FaultError, Faults

OPS = (
    "stat",
    "list",
    "create",
    "update",
    "delete",
    "upload",
    "upload_slice_init",
    "upload_slice_data",
    "upload_slice_finish",
    "upload_slice_list",
    "move",
    "copy",
    "download",
)


class Counters:
    """What was asked of the server so far. Belongs to the event loop.

    `requests` counts every request but control ones, refused ones too; a request whose operation
    is not known is in `total` only. Bytes are those of bodies.
    """

    def __init__(self) -> None:
        self.total = 0
        self.by_op = dict.fromkeys(OPS, 0)
        self.bytes_in = 0
        self.bytes_out = 0

    def count_op(self, op: str) -> None:
        """Count a request's operation, if it is one."""
        if op in self.by_op:
            self.by_op[op] += 1

    def reset(self) -> None:
        """Begin again at zero."""
        self.__init__()  # type: ignore[misc]

    def describe(self) -> dict[str, Any]:
        """Return the counters as the page shows them."""
        return {
            "requests": {"total": self.total, "by_op": dict(self.by_op)},
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
        }


def answer_control(
    counters: Counters, faults: Faults, method: str, path: str, body: bytes
) -> tuple[int, dict[str, Any]]:
    """Answer a control request with an HTTP status and a JSON object."""
    if path == "/_server/stats" and method == "GET":
        return 200, counters.describe()
    if path == "/_server/stats/reset" and method == "POST":
        counters.reset()
        return 200, counters.describe()
    if path == "/_server/faults":
        if method == "GET":
            return 200, faults.describe()
        if method == "DELETE":
            faults.order({})
            return 200, faults.describe()
        if method == "PUT":
            try:
                faults.order(json.loads(body))
            except (FaultError, ValueError, RecursionError) as error:
                return 400, {"error": str(error)}
            return 200, faults.describe()
    if path in ("/_server/stats", "/_server/stats/reset", "/_server/faults"):
        return 405, {"error": f"{path} does not take {method}"}
    return 404, {"error": f"no page {path}"}
