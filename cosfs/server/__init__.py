"""The local COS server: an island that speaks the wire protocol of the COS JSON API.

It is written from the protocol notes and imports nothing else of cosfs, so that a mistake of the
client is not repeated here. Arrows point from the user of a thing to the thing::

    command ──> running ──> app ──> operations, slices, download, control
                             │            │
             signatures, addresses,       └──> state ──> objects, uploads, database, content
             forms, faults                       (no HTTP below this line)
"""
