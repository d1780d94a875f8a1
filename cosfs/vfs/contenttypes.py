"""Owns guessing a content type from a name; must not know files."""

from __future__ import annotations

import mimetypes

from cosfs.model import Metadata

#: What compressed content is, whatever is in it: it is downloaded as it is.
_COMPRESSED = {
    "br": "application/x-brotli",
    "bzip2": "application/x-bzip2",
    "compress": "application/x-compress",
    "gzip": "application/gzip",
    "xz": "application/x-xz",
}


def with_content_type(metadata: Metadata, path: str) -> Metadata:
    """Return ``metadata`` with the content type that the extension of ``path`` stands for, if any.

    Which types there are depends on the machine too, as the stdlib reads its tables.
    """
    # A path begins with a slash, so that no name is taken for a URL with a scheme.
    kind, encoding = mimetypes.guess_type(path, strict=False)
    if encoding is not None:
        kind = _COMPRESSED.get(encoding)
    if kind is None:
        return metadata
    return metadata.with_property("content_type", kind.encode("ascii", "ignore"))
