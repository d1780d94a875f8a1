"""The local COS server: an island that speaks the wire protocol of the COS JSON API.

It is written from the protocol notes and imports nothing else of cosfs, so that a mistake of the
client is not repeated here. Arrows point from the user of a thing to the thing::

    command, running ──> app ──> door ──> operations ──> files, folders, slices ──> calls
                                  │  │
                                  │  └──> download, control, sending          (HTTP ends here)
                                  │
                  signatures, addresses, forms, multipart, faults             (pure)

    files, folders, slices, download ──> state ──> objects, uploads ──> database
                                           │
                          listing, assembly, content, sha1

`switches`, `codes` and the frozen values of `objects` are leaves. Only `app`, `door` and `sending`
import aiohttp. cosfs/docs/server.md is the page for users.
"""
