"""The page in a real browser: what a visitor sees, clicks and takes home."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dreammotion_core import EditConfig, read_objects, read_video, write_masks
from dreammotion_core.models.catalog import find_model
from tests.publisher import Publisher, publisher_of, random_mobile_sam
from tests.serving import serve
from tests.web.browsing import (
    BALL,
    MASK_SHOWN,
    NEEDS_BROWSER,
    OTHER,
    PATIENCE,
    SIDE,
    UPLOAD,
    click,
    rolling_ball,
    select_ball,
    send,
)

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
Page, expect = playwright.Page, playwright.expect

pytestmark = NEEDS_BROWSER


def describe(page: Page, *, steps: int) -> None:
    page.fill("#source-prompt textarea, #source-prompt input", "a red ball on a meadow")
    page.fill("#target-prompt textarea, #target-prompt input", "a blue ball on a meadow")
    open_group(page, "#advanced", "#num-optimization-steps input[type=number]")
    set_number(page.locator("#num-optimization-steps input[type=number]"), steps)


def open_group(page: Page, group: str, field: str) -> None:
    if not page.locator(field).first.is_visible():
        page.locator(f"{group} > button").click()
        page.locator(field).first.wait_for()


def set_number(field: playwright.Locator, value: int) -> None:
    """Type a number. While a drawer still opens, its fields may be set once more to what they start with."""
    for _ in range(50):
        field.fill(str(value))
        field.press("Tab")
        field.page.wait_for_timeout(400)
        if field.input_value() == str(value):
            return
    raise AssertionError(f"the field stays at {field.input_value()}")


def caption(page: Page) -> playwright.Locator:
    return page.locator("#player .dm-note")


def test_a_click_shows_the_mask_of_the_object(visit: Callable[..., Page]) -> None:
    page = visit()

    select_ball(page)

    expect(page.locator("#canvas .dm-note")).to_contain_text("% of the frame is selected")
    overlay = page.evaluate(PIXEL_OF_OVERLAY, list(BALL))
    assert overlay[3] > 0
    assert page.evaluate(PIXEL_OF_OVERLAY, [0.5, 0.1])[3] == 0


PIXEL_OF_OVERLAY = """async ([x, y]) => {
  const image = document.querySelector('#canvas .dm-overlay');
  await image.decode();
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
  const ink = canvas.getContext('2d');
  ink.drawImage(image, 0, 0);
  return [...ink.getImageData(x * canvas.width, y * canvas.height, 1, 1).data];
}"""


def test_none_of_ten_rapid_clicks_is_lost(visit: Callable[..., Page]) -> None:
    page = visit()

    for index in range(10):
        click(page, (0.05 + 0.09 * index, 0.6), no_wait_after=True)

    expect(page.locator("[data-answered='10']")).to_have_count(1)


def test_undo_box_and_negative_clicks_change_the_selection(visit: Callable[..., Page]) -> None:
    page = visit()
    select_ball(page)

    click(page, (0.5, 0.1), button="right")
    expect(page.locator("[data-answered='2']")).to_have_count(1)
    page.click("#canvas [data-action=undo]")
    expect(page.locator("[data-answered='1']")).to_have_count(1)
    page.click("#canvas [data-action=clear]")
    expect(page.locator("[data-answered='0']")).to_have_count(1)

    assert not page.evaluate(MASK_SHOWN)


def test_only_the_left_and_the_right_button_say_something(visit: Callable[..., Page]) -> None:
    page = visit(server="quick_app")
    select_ball(page)

    click(page, OTHER, button="middle")
    click(page, OTHER, modifiers=["Control"])
    expect(page.locator("[data-answered='2']")).to_have_count(1)

    page.wait_for_function(MASK_SHOWN)
    assert page.evaluate(PIXEL_OF_OVERLAY, list(OTHER))[3] == 0


def test_a_click_made_while_following_is_about_the_frame_it_began_on(visit: Callable[..., Page]) -> None:
    page = visit(server="quick_app")
    select_ball(page)
    page.locator("#canvas canvas").hover(position={"x": 20, "y": 20})
    page.mouse.down()

    page.evaluate(RELEASE_ONCE_A_MASK_HAS_COME)
    expect(page.locator("#propagate")).to_have_text(re.compile("^Follow (on|through)"))
    page.mouse.up()
    go_to(page, 0)

    expect(page.locator("[data-answered='2']")).to_have_count(1)


RELEASE_ONCE_A_MASK_HAS_COME = """() => {
  const note = document.querySelector('#canvas .dm-note');
  const watcher = new MutationObserver(() => {
    if (!/^Following: \\d/.test(note.textContent)) return;
    watcher.disconnect();
    document.querySelector('#canvas canvas').dispatchEvent(new PointerEvent('pointerup'));
  });
  watcher.observe(note, { childList: true, characterData: true, subtree: true });
  document.querySelector('#propagate').click();
}"""


def test_the_keyboard_alone_selects(visit: Callable[..., Page]) -> None:
    page = visit()
    page.focus("#canvas canvas")

    for _ in range(14):
        page.keyboard.press("ArrowLeft")
    for _ in range(6):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")

    page.wait_for_function(MASK_SHOWN)


def follow(page: Page) -> None:
    page.click("#propagate")
    expect(page.locator("#propagate")).to_have_text("Followed through the clip ✓")


def go_to(page: Page, frame: int) -> None:
    page.focus("#canvas .dm-frame")
    page.keyboard.press("Home")
    for _ in range(frame):
        page.keyboard.press("ArrowRight")
    expect(page.locator(f"[data-frame='{frame}']")).to_have_count(1)


def states(page: Page) -> list[str]:
    return page.eval_on_selector_all(
        "#canvas .dm-cells i", "cells => cells.map((cell) => cell.dataset.state)"
    )


def test_two_objects_are_followed_and_any_frame_can_be_looked_at(visit: Callable[..., Page]) -> None:
    page = visit()
    select_ball(page)
    page.click("[data-action=add]")
    expect(page.locator(".dm-chip")).to_have_count(2)
    click(page, OTHER)
    page.click("[data-action=details]")
    page.fill(".dm-details [name=name]", "blue ball")
    page.keyboard.press("Enter")
    expect(page.locator(".dm-chip").last).to_have_text("blue ball")
    expect(page.locator(".dm-scope")).to_contain_text("both objects")

    follow(page)
    go_to(page, 7)
    page.wait_for_function(MASK_SHOWN)

    assert states(page) == ["good"] * 9
    assert page.evaluate(PIXEL_OF_OVERLAY, list(OTHER))[3] > 0
    assert page.evaluate(PIXEL_OF_OVERLAY, [BALL[0] + 0.35, BALL[1]])[3] > 0
    assert page.evaluate(PIXEL_OF_OVERLAY, [BALL[0] - 0.05, BALL[1]])[3] == 0


def test_a_correction_follows_only_the_frames_round_it_and_undo_takes_it_back(
    visit: Callable[..., Page],
) -> None:
    page = visit()
    select_ball(page)
    follow(page)
    go_to(page, 5)
    click(page, (BALL[0] + 0.25, BALL[1]))
    expect(page.locator("#propagate")).to_contain_text("7 frames")
    follow(page)

    go_to(page, 2)
    click(page, OTHER)
    expect(page.locator("#propagate")).to_contain_text("Follow on 3 frames")
    assert [index for index, state in enumerate(states(page)) if state == "missing"] == [1, 3, 4]
    page.click("#canvas [data-action=undo]")

    expect(page.locator("#propagate")).to_have_text("Followed through the clip ✓")


def test_stop_keeps_the_frames_that_are_done(visit: Callable[..., Page], tmp_path: Path) -> None:
    page = visit(upload=False)
    send(page, rolling_ball(tmp_path, side=720))
    select_ball(page)
    page.evaluate(STOP_AFTER_THE_FIRST_FRAME)

    page.click("#propagate")

    expect(page.locator("#canvas .dm-note")).to_contain_text("done and kept; follow again to go on")
    assert "missing" in states(page)
    follow(page)
    assert "missing" not in states(page)


STOP_AFTER_THE_FIRST_FRAME = """() => {
  const note = document.querySelector('#canvas .dm-note');
  const watcher = new MutationObserver(() => {
    if (!/^Following: \\d/.test(note.textContent)) return;
    watcher.disconnect();
    document.querySelector('#propagate').click();
  });
  watcher.observe(note, { childList: true, characterData: true, subtree: true });
}"""


def test_an_edit_is_watched_stopped_and_kept(visit: Callable[..., Page]) -> None:
    page = visit()
    select_ball(page)
    describe(page, steps=400)

    page.click("#edit")
    expect(caption(page)).to_contain_text(re.compile(r"Step \d+ of 400"))
    expect(page.locator("#losses polyline").first).to_have_attribute("points", re.compile(r"\d"))
    page.click("#stop")

    expect(caption(page)).to_contain_text("Stopped. This is the clip as of step")
    expect(page.locator("#facts")).to_contain_text("of 400")
    expect(page.locator("#card")).to_contain_text("Nothing outside your selection changed")
    expect(page.locator("#stop")).to_be_hidden()


def test_a_finished_edit_is_compared_and_downloaded(visit: Callable[..., Page], tmp_path: Path) -> None:
    page = visit()
    select_ball(page)
    describe(page, steps=3)
    page.fill("#seed input, #seed textarea", "42")

    page.click("#edit")
    expect(caption(page)).to_contain_text("Done")
    page.focus("#player .dm-wipe")
    page.keyboard.press("Home")
    for button, name in (("#movie", "edit.mp4"), ("#receipt", "edit.json")):
        with page.expect_download() as download:
            page.click(button)
        download.value.save_as(tmp_path / name)

    assert page.input_value("#player .dm-wipe") == "0"
    assert read_video(tmp_path / "edit.mp4").size == (SIDE, SIDE)
    receipt = json.loads((tmp_path / "edit.json").read_text())
    assert receipt["seed"] == 42
    assert len(receipt["selection"]["objects"][0]["prompts"][0]["clicks"]) == 1


def receipt_of_edit(page: Page, path: Path) -> dict[str, Any]:
    """Edit with the form as it is, and read the receipt."""
    page.click("#edit")
    expect(caption(page)).to_contain_text("Done")
    with page.expect_download() as download:
        page.click("#receipt")
    download.value.save_as(path)
    return json.loads(path.read_text())


def test_an_untouched_page_keeps_the_shape_and_so_does_the_next_model(
    visit: Callable[..., Page], tmp_path: Path
) -> None:
    page = visit(server="quick_app", upload=False)
    page.wait_for_function(MASK_SHOWN)

    untouched = receipt_of_edit(page, tmp_path / "untouched.json")

    usual = EditConfig.preset("keep-shape", seed=untouched["seed"])
    assert untouched["settings"] == usual.to_dict()
    assert page.locator("#preset label").all_inner_texts()[0] == "By your words"
    page.check("#preset input[value=paper]")
    page.click("#masthead a")
    page.check("#model input[value=toybox]")
    page.click("#model [data-part=action]")
    expect(page.locator("#masthead")).to_contain_text("Active model: toybox (embedded)")
    expect(page.locator("#preset input[value=auto]")).to_be_checked()
    open_group(page, "#advanced", "#num-optimization-steps input[type=number]")
    set_number(page.locator("#num-optimization-steps input[type=number]"), 2)

    other = receipt_of_edit(page, tmp_path / "other.json")

    settings = find_model("toybox").config("keep-shape", seed=other["seed"], num_optimization_steps=2)
    assert other["model"] == "toybox"
    assert other["settings"] == settings.to_dict()


def test_a_run_is_measured_listed_and_saved(visit: Callable[..., Page], tmp_path: Path) -> None:
    page = visit()
    expect(page.locator("#runs")).to_contain_text("Your edits will be listed here")
    select_ball(page)
    describe(page, steps=2)
    page.fill("#target-prompt textarea, #target-prompt input", "=a blue ball")

    for number in (1, 2):
        page.click("#edit")
        expect(page.locator("#runs tbody tr")).to_have_count(number)
    card = page.locator(".dm-card[data-state=measured][aria-label='How run 2 did']")
    expect(card).to_contain_text("judged by toybox-clip")
    with page.expect_download() as download:
        page.click("#runs-export")
    download.value.save_as(tmp_path / "runs.csv")

    expect(card.locator("li")).to_have_count(6)
    expect(card.locator("[data-measure=background_difference] .dm-figure")).to_have_text("0 of 255")
    expect(page.locator("#runs tbody tr").first).to_contain_text("=a blue ball")
    with (tmp_path / "runs.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["1", "2"]
    assert rows[0]["should_show"] == "'=a blue ball"
    assert rows[0]["background_difference"] == "0.0"
    assert all(row["motion_fidelity (RGB DIS flow)"] for row in rows)
    assert visit().locator("#runs tbody tr").count() == 0


def test_the_ablation_grows_stops_and_is_saved(visit: Callable[..., Page], tmp_path: Path) -> None:
    page = visit(server="quick_app")
    select_ball(page)
    describe(page, steps=2)
    # So that two pairs of variants come out the same, and each must still have a place.
    set_number(page.get_by_label("Temporal matching"), 0)
    page.click("#evidence [role=tab]:has-text('What each part does')")

    page.click("#board-run")
    expect(page.locator("#board .grid figure")).to_have_count(6)
    expect(page.locator("#board figure canvas[data-strip]")).to_have_count(6)
    expect(page.locator("#board-status output")).to_contain_text(["done in"] * 5)
    expect(page.locator("#board table")).to_contain_text("Motion-Fidelity (RGB DIS flow)")
    expect(page.locator("#board .bar output")).to_contain_text(re.compile(r"frame \d of 3"))
    assert page.evaluate(PIXELS_OF_CLIPS) == [True] * 6
    with page.expect_download() as download:
        page.click("#board-file")
    download.value.save_as(tmp_path / "board.html")
    set_number(page.locator("#num-optimization-steps input[type=number]"), 500)
    page.click("#board-run")
    expect(page.locator("#board-status")).to_contain_text("step")
    page.click("#board-stop")
    expect(page.locator("#board-status")).to_contain_text("Stopped")
    expect(page.locator("#board-stop")).to_be_hidden()
    page.goto((tmp_path / "board.html").as_uri())

    expect(page.locator("figure canvas")).to_have_count(6)
    expect(page.locator(".bar output")).to_contain_text("of 3")
    assert page.evaluate(PIXELS_OF_CLIPS) == [True] * 6


def test_what_fails_says_why_where_it_was_watched_and_offers_no_stop(visit: Callable[..., Page]) -> None:
    page = visit(server="quick_app")
    select_ball(page)
    describe(page, steps=2)
    page.fill("#key-sites textarea", "no.such.layer")

    page.click("#edit")
    expect(caption(page)).to_contain_text("Nothing was changed.")
    page.click("#evidence [role=tab]:has-text('What each part does')")
    page.click("#board-run")
    expect(page.locator("#board-status .dm-problem")).to_contain_text("No variant was finished.")

    expect(caption(page)).to_have_class(re.compile("dm-problem"))
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator("#board-stop")).to_be_hidden()


PIXELS_OF_CLIPS = """async () => {
  await new Promise((resolve) => setTimeout(resolve, 600));
  return [...document.querySelectorAll('figure canvas[data-strip]')].map((canvas) =>
    canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data[3] === 255);
}"""


def test_a_second_visitor_has_an_own_page_and_waits_for_the_device(visit: Callable[..., Page]) -> None:
    first, second = visit(), visit()
    for page in (first, second):
        select_ball(page)
        describe(page, steps=400)
    first.click("#edit")
    expect(caption(first)).to_contain_text("Step")

    second.click("#edit")

    expect(caption(second)).to_contain_text("Waiting for the device: one edit is before yours")
    first.click("#stop")
    expect(caption(first)).to_contain_text("Stopped")
    expect(caption(second)).to_contain_text("Step")
    second.click("#stop")
    expect(caption(second)).to_contain_text("Stopped")


def test_closing_the_tab_stops_the_run(visit: Callable[..., Page]) -> None:
    gone, next_one = visit(), visit()
    for page in (gone, next_one):
        select_ball(page)
        describe(page, steps=400)
    gone.click("#edit")
    expect(caption(gone)).to_contain_text("Step")

    gone.close()
    next_one.click("#edit")

    expect(caption(next_one)).to_contain_text("Step")
    next_one.click("#stop")
    expect(caption(next_one)).to_contain_text("Stopped")


def test_an_edit_without_a_click_says_what_to_do(visit: Callable[..., Page]) -> None:
    page = visit(server="quick_app")
    describe(page, steps=3)

    page.click("#edit")

    expect(page.locator("#refusal [role=alert]")).to_have_text(
        "First click the object that you want to change"
    )
    expect(page.locator("#canvas canvas")).to_be_focused()
    assert page.locator(".toast-body").count() == 0


def test_a_file_that_is_no_video_is_refused_and_the_clip_stays(
    visit: Callable[..., Page], tmp_path: Path
) -> None:
    page = visit()
    picture = page.get_attribute("#canvas .dm-base", "src")
    (tmp_path / "notes.mp4").write_text("not a video")

    page.set_input_files(UPLOAD, str(tmp_path / "notes.mp4"))

    expect(page.locator(".toast-body")).to_contain_text("cannot be read as a video")
    assert page.get_attribute("#canvas .dm-base", "src") == picture


def test_an_example_is_one_click_away(visit: Callable[..., Page]) -> None:
    page = visit(upload=False)
    cards = page.locator("#examples button[data-name]")
    if cards.count() == 0:
        pytest.skip("no examples in assets/examples yet")

    cards.last.click()

    expect(cards.last).to_have_attribute("aria-pressed", "true")
    expect(cards.first).to_have_attribute("aria-pressed", "false")
    prompt = cards.last.locator("span").inner_text()
    expect(page.locator("#source-prompt textarea, #source-prompt input")).to_have_value(prompt)
    page.locator("#suggestions button").last.click()
    suggestion = page.locator("#suggestions button").last.inner_text()
    expect(page.locator("#target-prompt textarea, #target-prompt input")).to_have_value(suggestion)


def test_a_phone_needs_no_sideways_scrolling(visit: Callable[..., Page]) -> None:
    page = visit(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)

    page.locator("#canvas canvas").scroll_into_view_if_needed()
    area = page.locator("#canvas canvas").bounding_box()
    page.touchscreen.tap(area["x"] + area["width"] * BALL[0], area["y"] + area["height"] * BALL[1])
    page.wait_for_function(MASK_SHOWN)
    describe(page, steps=1)
    page.click("#edit")
    expect(page.locator(".dm-card[data-state=measured]")).to_be_visible()

    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
    assert area["width"] > 300


@pytest.mark.parametrize(("scheme", "ink"), [("light", "rgb(31, 28, 24)"), ("dark", "rgb(239, 233, 223)")])
def test_the_page_follows_the_colours_of_the_system(
    visit: Callable[..., Page], scheme: str, ink: str
) -> None:
    page = visit(upload=False, color_scheme=scheme)

    expect(page.locator(".dm-masthead h1")).to_have_css("color", ink)


def test_masks_are_imported_and_exported_unchanged(visit: Callable[..., Page], tmp_path: Path) -> None:
    page = visit()
    masks = np.zeros((9, SIDE, SIDE), np.uint8)
    masks[:, 60:90, 20:50], masks[2:, 10:30, 90:120] = 2, 5
    open_group(page, "#outline", "#mask-files button")
    page.click("#mask-files button")

    page.set_input_files('#mask-files input[type="file"]', str(write_masks(masks, tmp_path / "in.zip")))
    notices = page.locator("#canvas .dm-notices")
    expect(notices).to_contain_text("Imported 2 objects: Object 2, Object 5")
    expect(page.locator(".dm-chip")).to_have_text(["Object 2", "Object 5"])
    page.click("#canvas [data-action=undo]")
    expect(notices).to_be_empty()
    page.click("#canvas [data-action=redo]")
    expect(notices).to_contain_text("Imported 2 objects")
    with page.expect_download() as download:
        page.click("#mask-export")
    download.value.save_as(tmp_path / "out.zip")

    out = read_objects(tmp_path / "out.zip", num_frames=9, size=(SIDE, SIDE))
    assert np.array_equal(out.numbers, masks)


def test_the_models_say_what_they_are_and_which_one_edits(visit: Callable[..., Page]) -> None:
    page = visit()

    page.click("#masthead a")
    expect(page.locator("#model label").first).to_be_visible()
    page.check("#model input[value=zeroscope]")

    expect(page.locator("#masthead")).to_contain_text("Active model: toybox (embedded)")
    expect(page.locator("#model-box")).to_contain_text("Model: toybox (embedded)")
    expect(page.locator("#model label").first).to_contain_text("ready")
    expect(page.locator("#model label", has_text="ZeroScope")).to_contain_text("not for commercial use")
    expect(page.locator("#model [data-part=action]")).to_contain_text("ZeroScope v2 576w")


def test_time_and_memory_are_measured_before_an_edit(visit: Callable[..., Page]) -> None:
    page = visit()

    open_group(page, "#clip-settings", "#preflight-check")
    page.click("#preflight-check")

    expect(page.locator("#preflight")).to_contain_text(
        re.compile(r"It fits: .* 40 steps of"), timeout=4 * PATIENCE
    )
    expect(page.locator("#preflight-use")).to_be_hidden()
    expect(page.locator("#stop")).to_be_hidden()


def test_the_segmenters_say_what_they_are_and_what_they_cost(visit: Callable[..., Page]) -> None:
    page = visit()

    open_group(page, "#outline", "#segmenter-box button")
    page.click("#segmenter-box button")
    page.check("#segmenter input[value=sam2-tiny]")

    expect(page.locator("#segmenter label").first).to_contain_text("ready")
    expect(page.locator("#segmenter [data-part=description]")).to_contain_text("by its own memory")
    expect(page.locator("#segmenter [data-part=action]")).to_contain_text("SAM 2.1 (tiny)")
    expect(page.locator("#segmenter-box")).to_contain_text("Selection tool: Embedded")


@pytest.fixture(scope="session")
def sam_publisher() -> Iterator[Publisher]:
    with publisher_of(random_mobile_sam()) as publisher:
        yield publisher


@pytest.fixture
def offering_app(sam_publisher: Publisher, tmp_path: Path) -> Iterator[str]:
    """The real app where SAM can be downloaded, with random weights."""
    cache = str(tmp_path / "cache")
    with serve(tmp_path / "log.txt", program=sam_publisher.program(), DREAMMOTION_CACHE=cache) as url:
        yield url
        assert "Traceback" not in (tmp_path / "log.txt").read_text()


def test_two_clicks_lead_to_a_mask_by_sam_and_corrections_stay(visit: Callable[..., Page]) -> None:
    page = visit(server="offering_app")
    select_ball(page)
    go_to(page, 5)
    click(page, (BALL[0] + 0.25, BALL[1]))
    expect(page.locator("[data-answered='1']")).to_have_count(1)
    before = page.get_attribute("#canvas .dm-overlay", "src")

    open_group(page, "#outline", "#segmenter-box")
    page.click("#offer")

    expect(page.locator("#offer-note")).to_contain_text("MobileSAM answers your clicks")
    expect(page.locator("#segmenter-box")).to_contain_text("Selection tool: MobileSAM")
    page.wait_for_function(
        "(old) => document.querySelector('#canvas .dm-overlay').getAttribute('src') !== old", arg=before
    )
    expect(page.locator("#offer")).to_be_hidden()
    for frame in (0, 5):
        go_to(page, frame)
        expect(page.locator("[data-answered='1']")).to_have_count(1)
    page.click("#canvas [data-action=undo]")
    expect(page.locator("[data-answered='0']")).to_have_count(1)
    newcomer = visit(server="offering_app")
    open_group(newcomer, "#outline", "#segmenter-box")
    expect(newcomer.locator("#segmenter-box")).to_contain_text("Selection tool: MobileSAM")


def test_a_download_that_fails_or_is_stopped_leaves_the_mask_and_can_be_tried_again(
    visit: Callable[..., Page], sam_publisher: Publisher
) -> None:
    page = visit(server="offering_app")
    select_ball(page)
    before = page.get_attribute("#canvas .dm-overlay", "src")

    try:
        sam_publisher.mode = "short"
        page.click("#offer")
        expect(page.locator("#offer-note")).to_contain_text("MobileSAM could not be downloaded.")
        sam_publisher.mode = "slow"
        page.click("#offer")
        page.click("#offer-stop")
        expect(page.locator("#offer-note")).to_contain_text("Stopped.")
    finally:
        sam_publisher.mode = ""
    expect(page.locator("#offer-note")).to_contain_text("still answers your clicks")
    assert page.get_attribute("#canvas .dm-overlay", "src") == before

    open_group(page, "#outline", "#segmenter-box")
    page.click("#offer")
    expect(page.locator("#segmenter-box")).to_contain_text("Selection tool: MobileSAM")
