"""The first minute in a real browser: what a stranger sees and reaches by mouse, finger, keyboard or ear."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.web.browsing import BALL, MASK_SHOWN, NEEDS_BROWSER, click, select_ball

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
Page, expect = playwright.Page, playwright.expect

pytestmark = NEEDS_BROWSER
DESKTOP: dict[str, Any] = {"viewport": {"width": 1366, "height": 768}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
SIZES = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
MOST_BYTES = 750_000
MOST_SHIFT = 0.02

SHIFTS = """() => {
  window.shift = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
  }).observe({ type: "layout-shift" });
}"""
IN_SIGHT = """(selector) => {
  const area = document.querySelector(selector).getBoundingClientRect();
  const isWithin = area.top >= 0 && area.bottom <= innerHeight && area.left >= 0 && area.right <= innerWidth;
  return area.height > 0 && isWithin;
}"""


def in_sight(page: Page, *selectors: str) -> list[bool]:
    return [page.evaluate(IN_SIGHT, selector) for selector in selectors]


@SIZES
def test_two_clicks_and_no_scrolling_lead_to_a_playing_result(
    visit: Callable[..., Page], size: dict[str, Any]
) -> None:
    page = visit(server="quick_app", upload=False, **size)
    page.wait_for_function(MASK_SHOWN)

    page.click("#examples button[data-name=car]")
    expect(page.locator("#target-prompt textarea")).to_have_value("a blue car on a road")
    page.wait_for_function(MASK_SHOWN)
    page.wait_for_timeout(700)
    assert in_sight(page, "#canvas .dm-stage", "#target-prompt", "#edit") == [True] * 3
    page.evaluate(SHIFTS)
    page.click("#edit")
    expect(page.locator("#player .dm-note")).to_contain_text("Done")
    page.wait_for_timeout(1500)

    assert in_sight(page, "#player .dm-stage", "#player .dm-wipe", "#player .dm-play") == [True] * 3
    assert page.evaluate("window.shift") <= MOST_SHIFT
    assert page.get_attribute("#player .dm-play", "aria-label") == "Pause"
    widths = page.eval_on_selector_all(".dm-stage", "stages => stages.map((each) => each.clientWidth)")
    assert widths[0] == widths[1]
    assert page.title() == "✓ · DreamMotion"


def test_the_page_is_small_and_asks_nobody_else(visit: Callable[..., Page]) -> None:
    page = visit(server="quick_app", upload=False)
    page.wait_for_function(MASK_SHOWN)
    hosts, received, said = set(), [0], []
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))

    page.reload()
    page.wait_for_function(MASK_SHOWN)

    assert sum(received) <= MOST_BYTES
    assert len({host for host in hosts if host}) == 1
    assert said == []


@SIZES
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit: Callable[..., Page], size: dict[str, Any], scheme: str) -> None:
    page = visit(server="quick_app", upload=False, color_scheme=scheme, **size)
    page.wait_for_function(MASK_SHOWN)
    for group in ("#outline", "#advanced", "#clip-settings"):
        page.click(f"{group} > button")
    page.wait_for_timeout(1000)

    page.evaluate(files(axe).joinpath("axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")

    serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    assert [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in serious] == []


def test_a_refused_edit_says_why_beside_the_button_and_empties_nothing(visit: Callable[..., Page]) -> None:
    page = visit(server="quick_app", upload=False)
    expect(page.locator("#runs")).to_contain_text("Your edits will be listed here")
    page.wait_for_function(MASK_SHOWN)
    page.fill("#target-prompt textarea", "")

    page.focus("#target-prompt textarea")
    page.keyboard.press("Enter")

    expect(page.locator("#refusal [role=alert]")).to_have_text(
        "Say under “It should show” what it should become"
    )
    expect(page.locator("#target-prompt textarea")).to_be_focused()
    page.wait_for_timeout(1500)
    expect(page.locator("#runs")).to_contain_text("Your edits will be listed here")
    assert page.locator(".toast-body").count() == 0


def test_a_new_clip_clears_what_was_said_of_the_one_before(visit: Callable[..., Page]) -> None:
    page = visit(server="quick_app", upload=False)
    page.wait_for_function(MASK_SHOWN)
    page.click("#edit")
    expect(page.locator("#facts")).to_contain_text("Seed")
    expect(page.locator("#movie")).to_be_visible()

    page.click("#examples button[data-name=duck]")

    expect(page.locator("#movie")).to_be_hidden()
    expect(page.locator("#facts")).to_be_empty()
    expect(page.locator("#runs tbody tr")).to_have_count(1)
    assert page.get_attribute("#player", "data-stage") != "result"


def test_the_wheel_looks_closer_and_clicks_still_hit(visit: Callable[..., Page]) -> None:
    page = visit(server="quick_app")
    area = page.locator("#canvas .dm-stage").bounding_box()
    assert area is not None
    page.mouse.move(area["x"] + BALL[0] * area["width"], area["y"] + BALL[1] * area["height"])

    for _ in range(4):
        page.mouse.wheel(0, -60)
    expect(page.locator("#canvas .dm-closeness")).not_to_have_text("100 %")
    click(page)
    page.wait_for_function(MASK_SHOWN)
    page.keyboard.press("0")

    expect(page.locator("#canvas .dm-closeness")).to_have_text("100 %")
    expect(page.locator("#canvas .dm-note")).to_contain_text("% of the frame is selected")


def test_a_brush_adds_and_takes_away(visit: Callable[..., Page]) -> None:
    page = visit(server="quick_app")
    select_ball(page)
    page.click("#canvas [data-tool=brush]")
    note = page.locator("#canvas .dm-note")
    before = note.inner_text()

    for modifier, expected in ((None, "more"), ("Shift", "less")):
        area = page.locator("#canvas canvas").bounding_box()
        assert area is not None
        y = area["y"] + 0.2 * area["height"]
        if modifier:
            page.keyboard.down(modifier)
        page.mouse.move(area["x"] + 0.1 * area["width"], y)
        page.mouse.down()
        page.mouse.move(area["x"] + 0.9 * area["width"], y, steps=8)
        page.mouse.up()
        if modifier:
            page.keyboard.up(modifier)
        expect(note).not_to_have_text(before)
        after = note.inner_text()
        shares = [int(text.split(" %")[0]) for text in (before, after)]
        assert (shares[1] > shares[0]) == (expected == "more")
        before = after


def test_speed_steps_and_the_wipe_answer_keys(visit: Callable[..., Page]) -> None:
    page = visit(server="quick_app", upload=False)
    page.wait_for_function(MASK_SHOWN)

    page.select_option("#player .dm-speed", "0.25")
    page.focus("#player .dm-frame")
    page.keyboard.press(".")
    at = page.input_value("#player .dm-frame")
    page.keyboard.press(".")

    assert page.input_value("#player .dm-frame") != at
    assert page.get_attribute("#player .dm-play", "aria-label") == "Play"
