"""Owns how much of everything is measured; must not know how."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes in bytes, the rest in numbers; by themselves those of an ordinary run."""

    #: The tree that tools work on: files of 3,000 bytes, and their folders below a top.
    tree_files: int = 200
    tree_folders: int = 10
    #: One large file, and how often each throughput is measured.
    large: int = GIB
    rounds: int = 3
    random_reads: int = 200
    small_files: int = 2000
    #: Names in one folder, one listing each.
    names: tuple[int, ...] = (10_000, 100_000)
    #: The network of the suite ``cloud``.
    latency_ms: int = 20
    bytes_per_second: int = 50_000_000
    #: Its files for several readers, for one, and its folders of ten files.
    read_by_many: int = 1000
    read_by_one: int = 200
    folders: int = 100
    #: What goes through one mount whose memory is watched.
    streamed: int = 2 * GIB
    streams: int = 1
    open_files: int = 64
    open_size: int = 16 * MIB
    open_reads: int = 2000
    visited: int = 50_000
    #: Of the suite ``writeback``: files of one copy, commits of one clone.
    copied: int = 1000
    commits: int = 300


ORDINARY = Sizes()
LONG = Sizes(small_files=10_000, streams=5, visited=300_000)
#: Just so large that every path of the code is taken.
QUICK = Sizes(
    tree_files=6,
    tree_folders=2,
    large=24 * MIB,
    rounds=1,
    random_reads=3,
    small_files=6,
    names=(40,),
    latency_ms=1,
    read_by_many=6,
    read_by_one=3,
    folders=2,
    streamed=24 * MIB,
    open_files=3,
    open_size=5 * MIB,
    open_reads=6,
    visited=40,
    copied=6,
    commits=3,
)
