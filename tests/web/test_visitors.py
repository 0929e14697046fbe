"""What is remembered of each visitor, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dreammotion_core.method.source_cache import Prediction
from tests.web.pages import Page
from web import Limits, OwnedSourceCache, VisitorStore
from web.visitors import QUIET_SECONDS, ROOM_LEFT, LimitError, Visitor, VisitorGoneError


def test_two_visitors_never_see_each_others_selection(page: Page) -> None:
    first, second = page.arrive(), page.arrive()

    page.click(first)

    assert not page.clip(second).snapshot().chosen
    assert first != second
    assert len(first) >= 16


def test_a_closed_tab_stops_its_job_and_forgets_the_visitor(page: Page) -> None:
    token = page.arrive()
    stop = page.visitors.get(token).stop

    page.visitors.leave("session")

    assert stop.is_set()
    with pytest.raises(VisitorGoneError, match="Reload"):
        page.visitors.get(token)


def test_visitors_who_were_away_too_long_are_forgotten() -> None:
    visitors = VisitorStore(time_to_live=-1.0)
    visitors.admit()

    visitors.admit()

    assert len(visitors) == 1


@pytest.mark.parametrize("token", [None, "", "guess", 3, ["list"]])
def test_a_made_up_token_opens_nothing(page: Page, token: Any) -> None:
    with pytest.raises(VisitorGoneError):
        page.visitors.get(token)


class Room:
    """A store whose visitors have clips of so many bytes, in memory or on the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **limits: int) -> None:
        self.left: list[Visitor] = []
        self.store = VisitorStore(limits=Limits(**limits), on_leave=self.left.append)
        self.bytes: dict[Visitor, tuple[int, int]] = {}
        self.begun: set[Visitor] = set()
        monkeypatch.setattr(Visitor, "frames_bytes", property(lambda each: self.bytes.get(each, (0, 0))))
        monkeypatch.setattr(Visitor, "has_begun", property(lambda each: each in self.begun))

    def arrive(self, session: str, address: str = "here", *, begun: bool = False) -> Visitor:
        visitor = self.store.get(self.store.admit(session, address))
        if begun:
            self.begun.add(visitor)
        return visitor


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Room]:
    return lambda **limits: Room(monkeypatch, **limits)


def test_who_is_busy_is_never_forgotten() -> None:
    visitors = VisitorStore(time_to_live=0.0)
    busy = visitors.get(visitors.admit("a"))

    with busy.job() as stop:
        visitors.admit("b")
        assert not stop.is_set()
        assert len(visitors) == 2
    visitors.admit("c")
    assert stop.is_set()


def test_arrivals_of_a_page_replace_one_another(room: Callable[..., Room]) -> None:
    here = room()
    first = here.arrive("page")

    here.arrive("page")

    assert here.left == [first]
    assert len(here.store) == 1


@pytest.mark.parametrize("limits", [{"max_pages": 3}, {"max_pages_each": 3}])
def test_who_opens_page_after_page_closes_unused_ones_and_nobody_elses(
    room: Callable[..., Room], limits: dict[str, int]
) -> None:
    here = room(**limits)
    mine = here.arrive("mine", begun=True)

    for number in range(20):
        here.arrive(f"page {number}")

    assert mine not in here.left
    assert len(here.store) == 3


def test_pages_of_one_address_do_not_close_those_of_another(room: Callable[..., Room]) -> None:
    here = room(max_pages_each=2)
    elsewhere = here.arrive("other", "elsewhere")

    for number in range(5):
        here.arrive(f"page {number}")

    assert elsewhere not in here.left


def test_a_server_full_of_busy_pages_says_so(room: Callable[..., Room]) -> None:
    here = room(max_pages=1)
    said = "1 pages are open and busy, and 1 may be; close"
    with here.arrive("a").job(), pytest.raises(LimitError, match=said):
        here.arrive("b")


@pytest.mark.parametrize(("on_disk", "place"), [(False, "memory"), (True, "disk")])
def test_who_idles_makes_room_for_a_clip(room: Callable[..., Room], on_disk: bool, place: str) -> None:
    here = room(max_memory=100, max_disk=100)
    idle, busy, new = (here.arrive(name) for name in ("idle", "busy", "new"))
    here.bytes = {each: (0, 60_000_000) if on_disk else (60_000_000, 0) for each in (idle, busy)}
    here.bytes[new] = here.bytes[idle]

    with busy.job():
        here.store.make_room(new, 40_000_000, on_disk=on_disk)
        assert here.left == [idle]
        with pytest.raises(LimitError, match=f"takes 50 MB of {place}, .* take 100, of which 60 are used"):
            here.store.make_room(new, 50_000_000, on_disk=on_disk)
    assert new not in here.left


def test_pages_that_nobody_looks_at_are_closed(room: Callable[..., Room]) -> None:
    here = room()
    heard, quiet, fresh, busy = (here.arrive(name) for name in ("heard", "quiet", "fresh", "busy"))
    for each in (heard, quiet, busy):
        each.last_seen -= QUIET_SECONDS + 1

    with busy.job():
        here.store.close_quiet(lambda session: session == "heard")

    assert here.left == [quiet]
    assert fresh not in here.left


def test_uploads_are_limited_by_address_and_by_the_disk(tmp_path: Path) -> None:
    store = VisitorStore(limits=Limits(max_uploads=10, max_disk=15), uploads=tmp_path)
    store.check_upload("a", 9_000_000)

    with pytest.raises(LimitError, match="in an hour may take 10 MB, and 9 are used, so 2 more do not fit"):
        store.check_upload("a", 2_000_000)
    (tmp_path / "left").write_bytes(bytes(8_000_000))
    store._looked = (-100.0, 0)
    with pytest.raises(LimitError, match="of all visitors may take 15 MB, and 8 are used, so 8 more"):
        store.check_upload("b", 8_000_000)
    store.check_upload("b", 1_000_000)


def test_the_disk_never_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=ROOM_LEFT + 5))
    store = VisitorStore(uploads=tmp_path)

    store.check_upload("a", 5)
    with pytest.raises(LimitError, match="disk of the server is nearly full"):
        store.check_upload("a", 6)


def test_answers_of_who_left_go_and_none_of_theirs_are_kept_later() -> None:
    cache, answer = OwnedSourceCache(max_bytes=10**6), Prediction(torch.zeros(10), {})
    stays, leaves = Visitor("stays"), Visitor("leaves")
    for owner in (stays, leaves):
        cache.owner = owner
        cache.put(str(owner.session_hash), answer)

    cache.let_go(leaves)
    cache.put("late", answer)

    assert cache.get("stays") is not None
    assert cache.get("leaves") is cache.get("late") is None
    assert cache.num_bytes == 40
