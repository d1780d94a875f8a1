"""Names that need care on the wire come back as they went."""

from __future__ import annotations

import pytest

from cosfs import CosClient, CreateFolderRequest, ListFolderRequest, MoveFileRequest
from tests.sdk.places import BUCKET, get, put, stat

NAMES = [
    "100%25.txt", "a%2Fb", "a#b", "a;b", "a&b=c", "a+b", "~a", "'(){}[]^`!@$,", "é\u0301", "文",
    "😀", "\x01", "\x7f", "a\nb", "a\u00a0b", "\u2028", "\u3000", ".hidden", "..x", "...", " x ",
    "-", "a\0b", "a" * 840,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_survives(client: CosClient, folder: str, name: str) -> None:
    path = folder + name
    put(client, path, name.encode(), biz_attr=name.replace("\0", ""))
    assert get(client, path) == name.encode()
    assert stat(client, path)["filesize"] == len(name.encode())
    request = ListFolderRequest(BUCKET, folder, prefix=name)
    assert [entry["name"] for entry in client.iter_folder(request)] == [name]
    assert client.move_file(MoveFileRequest(BUCKET, path, "other"))["code"] == 0
    assert client.move_file(MoveFileRequest(BUCKET, f"{folder}other", name))["code"] == 0
    assert get(client, path) == name.encode()
    inner = f"{folder}{name[:400]}-folder/"
    assert client.create_folder(CreateFolderRequest(BUCKET, inner, name[:9]))["code"] == 0


def test_a_prefix_of_dots_is_one(client: CosClient, folder: str) -> None:
    for name in ("a", ".a", "..a"):
        put(client, folder + name, b"1")
    for prefix, expected in [(".", ["..a", ".a"]), ("..", ["..a"]), ("...", [])]:
        request = ListFolderRequest(BUCKET, folder, prefix=prefix)
        assert [entry["name"] for entry in client.iter_folder(request)] == expected
