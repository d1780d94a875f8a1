"""The metadata cache: each row of its table of events, and the races between them."""

from __future__ import annotations

import pytest

from cosfs.config import CacheOptions
from cosfs.model import Entry, Kind, Metadata
from cosfs.vfs.metacache import UNKNOWN, MetaCache, Times
from cosfs.vfs.overlay import OVERLAY_S
from tests.fakeclock import FakeClock

TTL = 30.0


def file(text: str) -> Entry:
    return Entry(Kind.FILE, size=len(text), digest=text)


FOLDER = Entry(Kind.FOLDER)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def cache(clock: FakeClock) -> MetaCache:
    return MetaCache(CacheOptions(ttl_s=TTL), clock)


def learn_listing(cache: MetaCache, folder: str, **entries: Entry) -> dict[str, Entry]:
    return cache.learn_listing(folder, dict(entries), cache.generation(), {})


def test_nothing_is_older_than_the_ttl_with_what_the_kernel_keeps(
    cache: MetaCache, clock: FakeClock
) -> None:
    assert cache.kernel_ttl_s == 1.0
    learn_listing(cache, "/d", a=file("1"))
    cache.learn("/x", file("2"), cache.generation())
    clock.advance(TTL - cache.kernel_ttl_s - 0.01)
    assert cache.lookup("/d/a") == file("1") and cache.lookup("/x") == file("2")
    assert cache.lookup("/d/none") is None
    clock.advance(0.02)
    assert cache.lookup("/d/a") is UNKNOWN and cache.lookup("/x") is UNKNOWN


@pytest.mark.parametrize("looks", range(12))
def test_a_belief_may_end_between_any_two_looks_at_the_clock(looks: int) -> None:
    class Ticking(FakeClock):
        step = 0.0

        def monotonic(self) -> float:
            self.advance(self.step)
            return super().monotonic()

    clock = Ticking()
    cache = MetaCache(CacheOptions(ttl_s=TTL), clock)
    learn_listing(cache, "/d", a=file("1"))
    cache.learn("/x", file("2"), cache.generation())
    clock.advance(TTL - cache.kernel_ttl_s)
    clock.step = 0.01
    clock.advance(-looks * clock.step)
    assert cache.lookup("/d/a") in (file("1"), UNKNOWN)
    assert cache.listing("/d") in ({"a": file("1")}, None)
    assert cache.lookup("/x") in (file("2"), UNKNOWN)
    cache.refresh("/")
    assert cache.lookup("/d/a") is UNKNOWN and cache.lookup("/x") is UNKNOWN


def test_without_a_ttl_nothing_is_believed() -> None:
    cache = MetaCache(CacheOptions(ttl_s=0), FakeClock())
    assert cache.kernel_ttl_s == 0
    cache.put("/f", file("1"))
    learn_listing(cache, "/", f=file("1"))
    assert cache.lookup("/f") is UNKNOWN and cache.listing("/") is None


def test_put_changes_entry_listing_and_metadata(cache: MetaCache) -> None:
    learn_listing(cache, "/", a=file("1"))
    known = Entry(Kind.FILE, size=2, digest="22", metadata=Metadata())
    cache.put("/a", known)
    assert cache.lookup("/a") == known
    assert cache.listing("/") == {"a": known}
    assert cache.metadata("/a", known.version) == Metadata()
    cache.put("/a", file("3"))
    assert cache.metadata("/a", file("3").version) is None


def test_remove_leaves_a_negative_entry_and_nothing_else(cache: MetaCache) -> None:
    cache.put_new_folder("/d", FOLDER)
    cache.set_times("/d", None, Times(mtime_ns=5))
    cache.remove("/d")
    assert cache.lookup("/d") is None
    assert cache.listing("/d") is None
    assert cache.times("/d", None) == Times()
    assert cache.mark("/d") is None


def test_a_new_folder_is_known_to_be_empty(cache: MetaCache) -> None:
    cache.put_new_folder("/d", FOLDER)
    assert cache.is_known_empty("/d")
    cache.put("/d/f", file("1"))
    assert not cache.is_known_empty("/d")
    assert cache.lookup("/d/other") is None


def test_a_reply_asked_for_before_an_own_change_is_not_believed(cache: MetaCache) -> None:
    before = cache.generation()
    cache.put("/f", file("mine"))
    assert cache.learn("/f", file("older"), before) == file("mine")
    assert cache.lookup("/f") == file("mine")
    cache.remove("/f")
    assert cache.learn("/f", file("older"), before) is None
    after = cache.generation()
    assert cache.learn("/f", file("theirs"), after) == file("theirs")
    assert cache.lookup("/f") == file("theirs")


def test_a_listing_that_lags_is_corrected_by_own_changes(cache: MetaCache) -> None:
    learn_listing(cache, "/", old=file("1"), kept=file("2"))
    cache.put("/new", file("n"))
    cache.remove("/old")
    cache.refresh("/elsewhere")
    lagging = {"old": file("1"), "kept": file("2")}
    truth = cache.learn_listing("/", dict(lagging), cache.generation(), {})
    assert truth == {"kept": file("2"), "new": file("n")}


def test_the_overlay_ends(cache: MetaCache, clock: FakeClock) -> None:
    cache.put("/new", file("n"))
    clock.advance(OVERLAY_S + 1)
    assert cache.doubts("/", {}) == []
    assert learn_listing(cache, "/") == {}


def test_an_old_contradiction_is_doubted_and_settled_by_a_stat(
    cache: MetaCache, clock: FakeClock
) -> None:
    cache.put("/f", file("mine"))
    assert cache.doubts("/", {}) == []
    clock.advance(TTL)
    assert cache.doubts("/", {}) == ["/f"]
    assert cache.doubts("/", {"f": file("mine")}) == []
    settled = cache.learn_listing("/", {}, cache.generation(), {"/f": None})
    assert settled == {}


def test_a_change_during_the_listing_wins_over_what_a_stat_said(
    cache: MetaCache, clock: FakeClock
) -> None:
    cache.put("/f", file("mine"))
    clock.advance(TTL)
    generation = cache.generation()
    cache.put("/f", file("newest"))
    assert cache.learn_listing("/", {}, generation, {"/f": None}) == {"f": file("newest")}


def test_a_fetch_that_outlives_the_overlay_is_not_believed(
    cache: MetaCache, clock: FakeClock
) -> None:
    generation = cache.generation()
    cache.put("/d/f", file("mine"))
    clock.advance(OVERLAY_S + 1)
    cache.put("/d/g", file("later"))
    cache.learn_listing("/d", {}, generation, {})
    assert cache.listing("/d") is None
    cache.learn("/d/f", None, generation)
    assert cache.lookup("/d/f") is UNKNOWN


def test_forget_asks_again_and_disbelieves_replies_under_way(cache: MetaCache) -> None:
    learn_listing(cache, "/", a=file("1"), b=file("2"))
    generation = cache.generation()
    cache.forget("/a")
    assert cache.lookup("/a") is UNKNOWN
    cache.learn("/a", file("1"), generation)
    assert cache.lookup("/a") is UNKNOWN


def test_refresh_goes_by_path_parts(cache: MetaCache) -> None:
    for path in ("/a/x", "/a/b/y", "/ab"):
        cache.learn(path, file("1"), cache.generation())
    cache.refresh("/a")
    assert cache.lookup("/a/x") is UNKNOWN and cache.lookup("/a/b/y") is UNKNOWN
    assert cache.lookup("/ab") == file("1")


def test_times_belong_to_a_version_and_follow_a_rename(cache: MetaCache) -> None:
    one, two = file("1").version, file("22").version
    cache.set_times("/f", one, Times(mtime_ns=5))
    cache.set_times("/f", one, Times(atime_ns=6))
    assert cache.times("/f", one) == Times(mtime_ns=5, atime_ns=6)
    assert cache.times("/f", two) == Times()
    cache.move_times("/f", "/g")
    assert cache.times("/g", one) == Times(mtime_ns=5, atime_ns=6)
    assert cache.times("/f", one) == Times()


def test_a_mark_once_seen_stays_until_the_ttl_and_a_listing_does_not_hide_what_it_holds(
    cache: MetaCache, clock: FakeClock
) -> None:
    assert cache.mark("/d") is None
    learn_listing(cache, "/d")
    assert cache.mark("/d") is False
    held = Metadata({"x": b"y"})
    cache.learn_mark("/d", held)
    learn_listing(cache, "/d")
    assert cache.mark("/d") == held
    clock.advance(TTL)
    assert cache.mark("/d") is None
    cache.learn_listing("/d", {}, cache.generation(), {}, marked=True)
    assert cache.mark("/d") is True


def test_everything_is_bounded(clock: FakeClock) -> None:
    cache = MetaCache(CacheOptions(ttl_s=TTL, max_entries=50), clock)
    for n in range(500):
        cache.put(f"/{n}", file(str(n)))
        cache.set_times(f"/{n}", None, Times(mtime_ns=n))
    believed = [n for n in range(500) if cache.lookup(f"/{n}") is not UNKNOWN]
    assert len(believed) <= 50 and 499 in believed
    learn_listing(cache, "/big", **{f"n{n}": file("1") for n in range(60)})
    assert cache.listing("/big") is None
