"""Owns the documented SDK of the JSON API of COS, on Python 3; must not know FUSE or HTTP.

A thin face on ``jsonapi``: a request object in, a dict out.

::

    client ──> folders, files, uploads, downloads ──> client_base ──> connection ──> jsonapi
                  │                  │         └──> fetch ──> localfile
                  │                  └──> sources, progress
                  └──> *_requests ──> base_request ──> checks
    auth, connection ──> settings
"""

from cosfs.sdk.auth import Auth
from cosfs.sdk.client import CosClient
from cosfs.sdk.download_requests import DownloadFileRequest, DownloadObjectRequest
from cosfs.sdk.downloads import ObjectBody
from cosfs.sdk.file_requests import (
    CopyFileRequest,
    DelFileRequest,
    MoveFileRequest,
    StatFileRequest,
    UpdateFileRequest,
)
from cosfs.sdk.folder_requests import (
    CreateFolderRequest,
    DelFolderRequest,
    ListFolderRequest,
    StatFolderRequest,
    UpdateFolderRequest,
)
from cosfs.sdk.replies import CosReplyError
from cosfs.sdk.settings import CosConfig, CredInfo
from cosfs.sdk.upload_requests import (
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
]
