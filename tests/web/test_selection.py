"""Clicks and commands of the canvas, and what it is shown."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dreammotion_core import (
    feathered_alpha,
    grown_mask,
)
from segmentation import Prompt, SelectionError
from tests.web.pages import ON_SQUARE, SIDE, Page, last
from web.clip import edited_masks
from web.form import (
    Refinement,
)
from web.selection_views import overlay


def test_a_click_on_the_object_is_answered_with_its_mask(page: Page) -> None:
    answer = page.click(page.arrive())

    assert answer["overlays"]["0"].startswith("data:image/png;base64,")
    assert "% of the frame is selected" in answer["note"]
    assert answer["prompt"]["clicks"] == [ON_SQUARE]


def test_an_emptied_selection_clears_the_overlay_and_undo_brings_it_back(page: Page) -> None:
    token = page.arrive()
    page.click(token)

    answer = page.do(token, {"do": "clear", "frame": 0})

    assert answer["overlays"]["0"] is None
    assert not page.clip(token).snapshot().chosen
    assert page.do(token, {"do": "undo"})["overlays"]["0"]
    assert not page.do(token, {"do": "redo"})["overlays"]["0"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token": "other"}, "Reload"),
        ({"clip": 9}, "another clip"),
        ({"commands": None}, "reload"),
        ({"commands": ["click"]}, "reload"),
        ({"commands": [{"do": ["click"]}]}, "reload"),
        ({"commands": [{"do": "click", "frame": 0}]}, "reload"),
        ({"commands": [{"do": "click", "frame": 9} | ON_SQUARE]}, "frame 9"),
        ({"commands": [{"do": "click", "frame": "0"} | ON_SQUARE]}, "reload"),
        ({"commands": [{"do": "click", "frame": 0} | ON_SQUARE] * 65}, "64 clicks"),
        ({"commands": [{"do": "click", "frame": 0} | ON_SQUARE | {"x": math.nan}]}, "finite"),
        ({"commands": [{"do": "click", "frame": 0} | ON_SQUARE | {"x": SIDE + 1}]}, "outside"),
        ({"commands": [{"do": "box", "frame": 0, "x0": 3, "y0": 3, "x1": 3, "y1": 9}]}, "no area"),
        ({"commands": [{"do": "pick", "object": 7}]}, "no object 7"),
        ({"commands": [{"do": "style", "object": 1, "name": "x", "colour": "red"}]}, "colour"),
        (
            {"commands": [{"do": "style", "object": 1, "name": "x" * 41, "colour": "#ffffff"}]},
            "40 characters",
        ),
        ({"overlays": list(range(99))}, "at most 32"),
        ({"frame": 9}, "frame 9"),
    ],
)
def test_bad_requests_are_answered_with_a_sentence(page: Page, changes: dict[str, Any], message: str) -> None:
    answer = page.do(page.arrive(), **changes)

    assert message.lower() in answer["error"].lower()


def test_what_came_before_a_refused_command_counts(page: Page) -> None:
    token = page.arrive()

    answer = page.do(token, {"do": "click", "frame": 0} | ON_SQUARE, {"do": "fly"})

    assert "error" in answer
    assert answer["overlays"]["0"]


def test_objects_are_added_renamed_left_alone_and_removed(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    page.do(token, {"do": "add"}, {"do": "style", "object": 2, "name": "sky", "colour": "#010203"})
    answer = page.click(token, {"x": 50.0, "y": 4.0, "is_positive": True})
    assert [(each["name"], each["frames"]) for each in answer["objects"]] == [("Object 1", [0]), ("sky", [0])]
    assert answer["objects"][1]["colour"] == "#010203"

    page.do(token, {"do": "choose", "object": 1, "value": False})
    assert [tracked.name for tracked in page.clip(token).snapshot().chosen] == ["sky"]

    answer = page.do(token, {"do": "remove", "object": 2})
    assert [each["number"] for each in answer["objects"]] == [1]
    answer = page.do(token, {"do": "remove", "object": 1})
    assert answer["objects"][0]["frames"] == []


def test_an_object_with_a_number_that_an_undo_gave_back_is_edited(page: Page) -> None:
    token, left_alone = page.arrive(), {"do": "choose", "object": 2, "value": False}

    answer = page.do(token, {"do": "add"}, left_alone, {"do": "undo"}, {"do": "redo"})
    assert [each["isEdited"] for each in answer["objects"]] == [True, False]
    answer = page.do(token, {"do": "undo"}, {"do": "add"})
    assert [each["isEdited"] for each in answer["objects"]] == [True, True]


def test_propagation_streams_every_frame_and_keeps_the_masks(page: Page) -> None:
    token = page.arrive()
    page.click(token)

    updates = [update["canvas"] for update in page.selections.propagate(token=token)]

    assert [update.get("frame") for update in updates] == [1, 2, None]
    assert all(update["overlay"] for update in updates[:-1])
    assert page.clip(token).is_followed
    assert {cell["state"] for cell in page.do(token)["cells"]} == {"good"}
    assert not page.visitors.get(token).is_busy


def test_a_correction_makes_only_the_frames_round_it_again(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    list(page.selections.propagate(token=token))

    answer = page.click(token, {"x": 60.0, "y": 60.0, "is_positive": False}, frame=2)

    assert answer["toFollow"] == 1
    assert [cell["state"] for cell in answer["cells"]] == ["known", "missing", "known"]
    assert [u["canvas"].get("frame") for u in page.selections.propagate(token=token)] == [1, None]
    assert page.do(token, {"do": "undo"})["toFollow"] == 0


def test_an_object_that_is_not_in_a_frame_is_not_asked_about(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    list(page.selections.propagate(token=token))

    answer = page.do(token, {"do": "absent", "frame": 2}, frame=2)

    assert answer["isAbsent"]
    assert answer["overlays"]["2"] is None
    assert answer["toFollow"] == 0
    assert answer["cells"][2]["state"] == "good"


def test_stopping_keeps_what_is_done_and_says_so(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    updates = page.selections.propagate(token=token)
    next(updates)

    page.edits.stop(token)
    note = last(updates)["canvas"]["note"]

    assert note == "Stopped. 1 of 2 frames are done and kept; follow again to go on."
    assert page.do(token)["toFollow"] == 1


def test_a_click_while_following_ends_it(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    updates = page.selections.propagate(token=token)
    next(updates)

    page.click(token, {"x": 2.0, "y": 60.0, "is_positive": False})

    assert "Stopped" in last(updates)["canvas"]["note"]
    assert not page.clip(token).is_followed


def test_propagating_nothing_is_refused(page: Page) -> None:
    with pytest.raises(SelectionError, match="nothing is selected"):
        list(page.selections.propagate(token=page.arrive()))


def test_the_next_doubtful_frame_is_shown_with_its_object(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    list(page.selections.propagate(token=token))
    small = np.zeros((SIDE, SIDE), bool)
    small[20:22, 10:12] = True
    clip = page.clip(token)
    clip.history = clip.history.do(lambda project: project.with_prompt(1, Prompt.of_mask(0, small)))
    page.do(token, {"do": "add"})

    list(page.selections.propagate(token=token))
    before = page.do(token, frame=0)
    answer = page.do(token, frame=0, seek=True)

    doubtful = [i for i, cell in enumerate(before["cells"]) if cell["state"] in ("doubtful", "bad")]
    assert answer["frame"] == (doubtful[0] if doubtful else 0)
    assert answer["picked"] == (1 if doubtful else 2)


def test_the_masks_are_refined_as_the_form_says(page: Page) -> None:
    token = page.arrive()
    page.click(token)
    list(page.selections.propagate(token=token))
    clip = page.clip(token)
    plain = edited_masks(clip.snapshot())
    picture = page.do(token)["overlays"]["0"]

    rim = {"mask_grow": 2, "mask_edge": 1, "mask_feather": 0}
    update = page.selections.refine(token=token, mask_fill="box", mask_steady=1, mask_invert=True, **rim)

    assert update["canvas"]["kind"] == "settled"
    assert not (edited_masks(clip.snapshot()) & plain).any()
    assert page.do(token)["overlays"]["0"] != picture


@pytest.mark.parametrize(
    ("grow", "edge", "feather", "is_inverted"),
    [(-4, 0, 0, False), (0, 0, 5, False), (3, 2, 2, False), (-3, 2, 2, True)],
)
def test_the_overlay_shows_of_touching_objects_what_the_edit_takes(
    page: Page, monkeypatch: pytest.MonkeyPatch, grow: int, edge: int, feather: int, is_inverted: bool
) -> None:
    token = page.arrive()
    page.do(token, {"do": "add"})
    clip, layers = page.clip(token), []
    for number, columns in ((1, slice(10, 30)), (2, slice(30, 50))):
        mask = np.zeros((SIDE, SIDE), bool)
        mask[20:40, columns] = True
        given = Prompt.of_mask(0, mask)
        clip.history = clip.history.do(lambda p, n=number, given=given: p.with_prompt(n, given))
    clip.refinement = Refinement(grow=grow, edge=edge, feather=feather, is_inverted=is_inverted)
    monkeypatch.setattr("web.selection_views.encode_overlay", lambda given, **_: layers.extend(given))

    overlay(clip, index=0)

    edited = grown_mask(grown_mask(edited_masks(clip.snapshot())[:1], pixels=grow), pixels=edge)
    opacities = [np.where(layer.mask, layer.opacity, 0) for layer in layers]
    assert np.array_equal(np.max(opacities, axis=0), feathered_alpha(edited, width=feather)[0])
    assert len(layers) == (1 if is_inverted else 2)


def test_a_brush_adds_takes_away_and_is_undone(page: Page) -> None:
    token = page.arrive()
    stroke = {"do": "brush", "frame": 0, "points": [[2, 60], [62, 60]], "radius": 2.0}

    def share() -> int:
        clip = page.clip(token)
        return int(clip.tracks.mask(clip.project, number=1, frame_index=0).sum())

    page.do(token, stroke | {"is_positive": True})
    line = share()
    page.do(token, stroke | {"points": [[32, 60]], "radius": 6.0, "is_positive": False})
    cut = share()
    page.do(token, {"do": "undo"})

    assert line > 60 * 3
    assert 0 < cut < line
    assert share() == line


@pytest.mark.parametrize(
    "changes",
    [
        {"points": []},
        {"points": [[1, 2, 3]]},
        {"points": [[math.nan, 2]]},
        {"points": "ab"},
        {"points": [[1, 2]] * 501},
        {"radius": 0},
        {"radius": math.inf},
        {"radius": "thick"},
    ],
)
def test_a_stroke_that_is_none_is_refused_and_changes_nothing(page: Page, changes: dict[str, Any]) -> None:
    token = page.arrive()
    stroke = {"do": "brush", "frame": 0, "points": [[2, 3]], "radius": 2.0, "is_positive": True}

    answer = page.do(token, stroke | changes)

    assert "cannot be read" in answer["error"]
    assert not page.clip(token).snapshot().selected


def test_a_stroke_outside_the_frame_is_cut_off(page: Page) -> None:
    token = page.arrive()
    stroke = {
        "do": "brush",
        "frame": 0,
        "points": [[-1e12, 5], [1e12, 5]],
        "radius": 2.0,
        "is_positive": True,
    }

    answer = page.do(token, stroke)

    assert "error" not in answer
    assert page.clip(token).snapshot().selected
