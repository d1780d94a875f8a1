"""The documented surface: names, constructor orders and defaults (reference 5.1, 5.2)."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest

import cosfs

MIB = 1024 * 1024
REQUIRED = inspect.Parameter.empty

#: Class -> its positional parameters; a tuple has a default.
CONSTRUCTORS: dict[str, list[Any]] = {
    "CosClient": ["appid", "secret_id", "secret_key", ("region", "shanghai")],
    "CredInfo": ["appid", "secret_id", "secret_key"],
    "Auth": ["cred"],
    "CosConfig": [
        ("timeout", 300), ("sign_expired", 300), ("enable_https", False),
        ("region", None), ("hostname", None), ("download_hostname", None),
    ],
    "CreateFolderRequest": ["bucket_name", "cos_path", ("biz_attr", "")],
    "UpdateFolderRequest": ["bucket_name", "cos_path", ("biz_attr", "")],
    "StatFolderRequest": ["bucket_name", "cos_path"],
    "DelFolderRequest": ["bucket_name", "cos_path"],
    "StatFileRequest": ["bucket_name", "cos_path"],
    "DelFileRequest": ["bucket_name", "cos_path"],
    "UpdateFileRequest": ["bucket_name", "cos_path"],
    "ListFolderRequest": [
        "bucket_name", "cos_path", ("num", 199), ("prefix", ""), ("context", ""),
        ("delimiter", ""),
    ],
    "UploadFileRequest": [
        "bucket_name", "cos_path", "local_path", ("biz_attr", ""), ("insert_only", 1),
        ("verify_sha1", False),
    ],
    "UploadSliceFileRequest": [
        "bucket_name", "cos_path", "local_path", ("slice_size", MIB), ("biz_attr", ""),
        ("enable_sha1", False), ("max_con", 1), ("insert_only", 1),
    ],
    "UploadFileFromBufferRequest": [
        "bucket_name", "cos_path", "data", ("biz_attr", ""), ("insert_only", 1),
        ("verify_sha1", False),
    ],
    "UploadSliceFileFromBufferRequest": [
        "bucket_name", "cos_path", "data", ("slice_size", MIB), ("biz_attr", ""),
        ("enable_sha1", False), ("max_con", 1), ("insert_only", 1),
    ],
    "DownloadFileRequest": [
        "bucket_name", "cos_path", "local_filename", ("range_start", None), ("range_end", None),
    ],
    "DownloadObjectRequest": [
        "bucket_name", "cos_path", ("range_start", None), ("range_end", None),
    ],
    "MoveFileRequest": ["bucket_name", "cos_path", "dest_path", ("overwrite", False)],
    "CopyFileRequest": ["bucket_name", "cos_path", "dest_path", ("overwrite", False)],
}  # fmt: skip

#: Method of the client -> the request that it takes.
METHODS = {
    "upload_file": "UploadFileRequest",
    "upload_single_file": "UploadFileRequest",
    "upload_slice_file": "UploadSliceFileRequest",
    "upload_file_from_buffer": "UploadFileFromBufferRequest",
    "upload_single_file_from_buffer": "UploadFileFromBufferRequest",
    "upload_slice_file_from_buffer": "UploadSliceFileFromBufferRequest",
    "stat_file": "StatFileRequest",
    "update_file": "UpdateFileRequest",
    "download_file": "DownloadFileRequest",
    "download_object": "DownloadObjectRequest",
    "del_file": "DelFileRequest",
    "move_file": "MoveFileRequest",
    "copy_file": "CopyFileRequest",
    "create_folder": "CreateFolderRequest",
    "stat_folder": "StatFolderRequest",
    "update_folder": "UpdateFolderRequest",
    "list_folder": "ListFolderRequest",
    "iter_folder": "ListFolderRequest",
    "del_folder": "DelFolderRequest",
}


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_constructor(name: str) -> None:
    found = [
        parameter.name if parameter.default is REQUIRED else (parameter.name, parameter.default)
        for parameter in inspect.signature(getattr(cosfs, name)).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    assert found == CONSTRUCTORS[name]


def test_additions_are_keywords_only() -> None:
    added = {
        (name, parameter.name)
        for name in CONSTRUCTORS
        for parameter in inspect.signature(getattr(cosfs, name)).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert added == {
        ("Auth", "clock"),
        ("Auth", "rng"),
        ("CosConfig", "ca_file"),
        ("DownloadFileRequest", "headers"),
        ("DownloadFileRequest", "max_con"),
        ("DownloadObjectRequest", "headers"),
        ("UploadFileFromBufferRequest", "max_con"),
        ("UploadFileRequest", "max_con"),
    }


@pytest.mark.parametrize("method", METHODS)
def test_a_method_takes_its_request_and_nothing_else(method: str) -> None:
    client = cosfs.CosClient(1250000000, "id", "key")
    with pytest.raises(TypeError, match=METHODS[method]):
        getattr(client, method)("/a.txt")
    wrong = cosfs.StatFileRequest("mybucket", "/a.txt")
    if METHODS[method] == "StatFileRequest":
        wrong = cosfs.DelFileRequest("mybucket", "/a.txt")  # type: ignore[assignment]
    with pytest.raises(TypeError, match=type(wrong).__name__):
        getattr(client, method)(wrong)


def test_a_request_to_copy_does_not_move() -> None:
    client = cosfs.CosClient(1250000000, "id", "key")
    with pytest.raises(TypeError):
        client.move_file(cosfs.CopyFileRequest("mybucket", "/a", "/b"))  # type: ignore[arg-type]


def test_every_public_method_is_in_the_table() -> None:
    others = {"set_config", "get_config", "set_cred", "get_cred", "close"}
    public = {name for name in dir(cosfs.CosClient) if not name.startswith("_")}
    assert public - others == set(METHODS)


def test_names() -> None:
    assert set(CONSTRUCTORS) < set(cosfs.__all__) <= set(dir(cosfs))
    for name in cosfs.__all__:
        assert getattr(cosfs, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        cosfs.Nothing  # noqa: B018


def test_importing_the_package_does_not_load_the_sdk() -> None:
    script = (
        "import sys, cosfs, cosfs.errors;"
        "assert not {'requests', 'cosfs.sdk'} & set(sys.modules);"
        "cosfs.CosClient; assert 'cosfs.sdk' in sys.modules;"
        "from cosfs import *; StatFileRequest"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
