"""Unfinished uploads that occupy a name: which of them a store may remove."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cosfs.errors import UnfinishedUpload
from cosfs.jsonapi.bucket import BucketClient
from cosfs.jsonapi.replies import SliceSession
from cosfs.model import BytesSource
from cosfs.sdk.connection import Connection
from cosfs.server.running import LocalServer
from cosfs.store.json_upload import Uploader
from tests.sdk.places import BUCKET, MIB, client_of, sha1

SOURCE = BytesSource(bytes(MIB))


def begin(bucket: BucketClient, *, insert_only: bool) -> None:
    """Send all slices of an upload, and do not finish it."""
    session = bucket.slice_init(
        "k", filesize=SOURCE.size, slice_size=MIB, insert_only=insert_only
    )
    assert isinstance(session, SliceSession)
    bucket.slice_data("k", session.session, 0, SOURCE, SOURCE.size)


@pytest.mark.parametrize("has_file", [False, True])
def test_an_upload_whose_slices_have_all_arrived(
    has_file: bool, expect_log: Callable[[str], None]
) -> None:
    with LocalServer(buckets=[BUCKET]) as server, client_of(server) as client:
        bucket = Connection().api(client.get_cred(), client.get_config()).bucket(BUCKET)

        def store(data: bytes) -> None:
            bucket.upload("k", BytesSource(data), sha=sha1(data), insert_only=False)

        if has_file:
            store(b"good")
        begin(bucket, insert_only=False)
        uploader = Uploader(bucket, "", parallel=1)
        if has_file:
            with pytest.raises(UnfinishedUpload):
                uploader.clearing("k", lambda: store(b"new"))
            assert bucket.stat_file("k").sha == sha1(b"good")
        else:
            expect_log("'k' was occupied by an unfinished upload")
            uploader.clearing("k", lambda: store(b"new"))
            assert bucket.stat_file("k").sha == sha1(b"new")
