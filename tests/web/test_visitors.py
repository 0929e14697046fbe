"""What is remembered of each visitor, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.pages import Page
from web.visitors import VisitorGoneError, VisitorStore


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
