"""An edit on the page: watched, stopped, failing, and what it leaves."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dreammotion_core import (
    DeviceLostError,
    EditEvent,
    MaskError,
    Preview,
    Video,
    read_video,
)
from tests.web.pages import ON_SQUARE, PROMPTS, SIDE, Page, form, last
from web import Example, LazyEditor
from web import clip as clips


def test_an_edit_follows_the_object_and_ends_with_clip_and_receipt(page: Page, example: Example) -> None:
    token = page.arrive()
    page.click(token)
    captions = []
    for update in page.edits.run(token=token, **PROMPTS, **form()):
        captions.append(update.get("player", {}).get("caption", ""))
        if update.get("card"):
            frames = read_video(update["movie"].value["path"]).frames
            receipt = json.loads(Path(update["receipt"].value["path"]).read_text())
            card, view = update["card"], update["player"]

    assert "Following what is selected first." in captions
    assert frames.shape == (3, SIDE, SIDE, 3)
    assert receipt["seed"] == 7
    assert receipt["selection"]["objects"][0]["prompts"][0]["clicks"] == [ON_SQUARE]
    assert receipt["selection"]["edited"] == [1]
    assert receipt["selection"]["refinement"]["fill"] == "none"
    assert receipt["segmenter"] == "embedded"
    assert receipt["source"]["name"] == example.path.name
    assert "Nothing outside your selection changed" in card
    assert len(view["before"]) == len(view["frames"]) == 3


def test_the_receipt_is_about_the_masks_that_were_edited(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    token = page.arrive()
    page.click(token)
    list(page.selections.propagate(token=token))
    fill = clips.fill_holes

    def fill_while_the_visitor_goes_on(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        page.do(token, {"do": "absent", "frame": 0})
        return fill(masks)

    monkeypatch.setattr(clips, "fill_holes", fill_while_the_visitor_goes_on)
    for update in page.edits.run(token=token, **PROMPTS, **form(steps=1, mask_fill="holes")):
        if update.get("card"):
            receipt = json.loads(Path(update["receipt"].value["path"]).read_text())

    (prompt,) = receipt["selection"]["objects"][0]["prompts"]
    assert (prompt["clicks"], prompt["mask"]) == ([ON_SQUARE], None)


def test_stop_keeps_the_latest_preview_as_the_result(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    updates = page.edits.run(token=token, **PROMPTS, **form(steps=500, mask_grow=3))
    for update in updates:
        if "Step" in update.get("player", {}).get("caption", ""):
            page.edits.stop(token)
            break

    result = next(updates)

    assert "Stopped. This is the clip as of step" in result["player"]["caption"]
    assert "Nothing outside your selection changed" in result["card"]
    assert list(updates) == []
    assert page.device.enter().wait(seconds=0.01)


class EditorThatFails:
    """The real editor, cut short by what a small GPU does."""

    def __init__(self, editor: LazyEditor) -> None:
        self.spec = editor.spec
        self._editor = editor

    def stream(self, video: Video, **request: Any) -> Generator[EditEvent, None, None]:
        for event in self._editor.stream(video, **request):
            yield event
            if isinstance(event, Preview):
                raise DeviceLostError("the device failed or is gone; start the program again")


def test_a_failing_edit_keeps_its_latest_preview(editor: LazyEditor, example: Example) -> None:
    page = Page(EditorThatFails(editor), [example])
    token = page.arrive()
    page.click(token)
    seen: list[dict[str, Any]] = []

    with pytest.raises(DeviceLostError, match="start the program again"):
        seen.extend(page.edits.run(token=token, **PROMPTS, **form()))

    assert "Nothing outside your selection changed" in seen[-1]["card"]
    assert page.device.enter().wait(seconds=0.01)


def test_a_second_edit_is_told_its_place_and_may_leave_the_line(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    holder = page.device.enter()
    updates = page.edits.run(token=token, **PROMPTS, **form())
    caption = next(c for u in updates if "Waiting" in (c := u.get("player", {}).get("caption", "")))

    page.edits.stop(token)
    farewell = last(updates)["player"]["caption"]

    assert "one edit is before yours" in caption
    assert "left the line" in farewell
    assert holder.place == 0
    holder.leave()
    assert page.device.enter().wait(seconds=0.01)


def test_a_closed_page_gives_the_device_back(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    updates = page.edits.run(token=token, **PROMPTS, **form())
    next(u for u in updates if "Step" in u.get("player", {}).get("caption", ""))

    updates.close()

    assert page.device.enter().wait(seconds=0.01)
    assert not page.visitors.get(token).is_busy


def test_editing_without_a_mask_needs_no_click(page: Page) -> None:
    updates = page.edits.run(token=page.arrive(), **PROMPTS, **form(use_mask=False, steps=1))

    assert "The whole frame was edited" in last(updates)["card"]


def test_an_edit_without_a_click_or_a_chosen_object_says_what_to_do(page: Page) -> None:
    token = page.arrive()
    with pytest.raises(MaskError, match="click the object"):
        list(page.edits.run(token=token, **PROMPTS, **form()))
    page.click(token)
    page.do(token, {"do": "choose", "object": 1, "value": False})
    with pytest.raises(MaskError, match="left alone"):
        list(page.edits.run(token=token, **PROMPTS, **form()))
