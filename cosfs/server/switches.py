"""The behaviour a user may choose.

Owns the switches of section 6.3 of the protocol notes and the limits, with the reason of every
default; must not know how any of them is carried out.
"""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Switches:
    """Frozen options of one server; the defaults are what was observed on the real service."""

    # Largest `num` of a listing. Live programs got 1000; several SDKs' documentation says 199.
    page_size: int = 1000
    # The marker of the listed folder takes a slot of the first page (observed).
    marker_slot: bool = True
    # Custom headers and authority survive when `upload` overwrites a file.
    overwrite_keeps: bool = False
    # Deleting a folder that has content is refused (documented) instead of dropping the marker.
    refuse_nonempty_delete: bool = False
    # Times of virtual folders in listings: "zero", "omit" or "newest".
    virtual_times: str = "zero"
    # Creating a folder that exists succeeds instead of answering -178.
    create_existing_succeeds: bool = False
    # Answer -59 (newest list) instead of -96 to an expired signature.
    expired_code_newest: bool = False
    # Move and copy want a single-use signature (documented; live programs send the other kind).
    move_wants_once: bool = False
    # A single-use signature works again and again.
    accept_replay: bool = False
    # Parents of what is uploaded, created, moved or copied must exist (documented precondition).
    parents_required: bool = False
    # Slices must be sent one after another.
    serial_upload: bool = False
    # Known content needs no data, only its sha and parts.
    instant_upload: bool = True
    # `custom_headers` of an update are merged into those there are, instead of replacing them.
    merge_headers: bool = False
    # A change shows up in listings only after this long.
    listing_delay_s: float = 0.0
    # Refuse signatures made for more than this many days; 0 accepts any.
    max_sign_days: int = 0
    # Requests per second for the whole server before -71; 0 is no limit.
    requests_per_second: float = 0.0
    # An unfinished slice upload is forgotten after this long.
    session_hours: float = 24.0
    # Suffix of the host names in access_url and source_url; empty gives path-style addresses.
    download_suffix: str = ""
    # Largest content of one `upload` (3.6).
    max_upload_bytes: int = 20 * MIB
