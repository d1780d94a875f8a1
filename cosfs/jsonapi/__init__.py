"""Owns the JSON API of COS ("v4"), client side; must not know folders as a file system sees them.

::

    client ──> bucket ──> protocol, parsing ──> replies
       │          └─────> settle
       ├──> signer ──> auth
       ├──> retry, codes
       └──> transport ──> wire, multipart, proxies        (the only user of requests)
    slices ──> bucket, team
    streams ──> api, ranges
"""
