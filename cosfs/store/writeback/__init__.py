"""A store that keeps changes on the local disk and makes them in another one a little later.

``store`` is what its user sees. ``operation`` is one change, ``queue`` the order of several,
``folding`` what becomes of those that touch one name, ``view`` and ``listing`` what is true while
they wait, ``recent`` what listings may not show yet, ``journal`` and ``content`` what of it lies on
the disk, ``outage`` whether the server is away, ``backlog`` all that under one lock. ``sender``
makes one change at the server, ``workers`` make several at once. ``leftover`` is what a person
decides about.
"""
