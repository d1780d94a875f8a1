"""Owns the public names: those of the SDK, loaded when they are asked for; must not know layers.

The mount, its commands and the local server are reached by ``python -m cosfs`` and pay nothing for
the SDK.
"""

from typing import TYPE_CHECKING, Any

from cosfs.version import __version__

if TYPE_CHECKING:
    from cosfs.sdk import (
        Auth,
        CopyFileRequest,
        CosClient,
        CosConfig,
        CosReplyError,
        CreateFolderRequest,
        CredInfo,
        DelFileRequest,
        DelFolderRequest,
        DownloadFileRequest,
        DownloadObjectRequest,
        ListFolderRequest,
        MoveFileRequest,
        ObjectBody,
        StatFileRequest,
        StatFolderRequest,
        UpdateFileRequest,
        UpdateFolderRequest,
        UploadFileFromBufferRequest,
        UploadFileRequest,
        UploadSliceFileFromBufferRequest,
        UploadSliceFileRequest,
    )

__all__ = [
    "Auth",
    "CopyFileRequest",
    "CosClient",
    "CosConfig",
    "CosReplyError",
    "CreateFolderRequest",
    "CredInfo",
    "DelFileRequest",
    "DelFolderRequest",
    "DownloadFileRequest",
    "DownloadObjectRequest",
    "ListFolderRequest",
    "MoveFileRequest",
    "ObjectBody",
    "StatFileRequest",
    "StatFolderRequest",
    "UpdateFileRequest",
    "UpdateFolderRequest",
    "UploadFileFromBufferRequest",
    "UploadFileRequest",
    "UploadSliceFileFromBufferRequest",
    "UploadSliceFileRequest",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'cosfs' has no attribute {name!r}")
    from cosfs import sdk

    globals()[name] = value = getattr(sdk, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
