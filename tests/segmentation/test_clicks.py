"""Clicks, boxes and selections: values that fit a clip or are refused."""

from __future__ import annotations

import json

import pytest

from segmentation import Box, Click, Selection, SelectionError
from segmentation.clicks import check_selection


class TestSelection:
    def test_undo_takes_back_clicks_and_then_the_box(self) -> None:
        box, click = Box(1, 2, 3, 4), Click(5, 6, is_positive=False)
        selection = Selection(2).with_box(box).with_click(click)
        assert selection.undo() == Selection(2, (), box)
        assert selection.undo().undo() == Selection(2)
        assert selection.undo().undo().undo().is_empty

    def test_cleared_keeps_the_frame(self) -> None:
        assert Selection(3).with_click(Click(1, 1)).cleared() == Selection(3)

    def test_survives_json(self) -> None:
        selection = Selection(1, (Click(0.5, 1.5), Click(2, 3, is_positive=False)), Box(0, 0, 9, 9))
        assert Selection.from_dict(json.loads(json.dumps(selection.to_dict()))) == selection
        assert Selection.from_dict({}) == Selection()

    @pytest.mark.parametrize(
        "values",
        [{"clicks": [{"x": 1}]}, {"clicks": 3}, {"colour": "red"}, {"box": {"x0": 1}}, {"box": [1, 2, 3, 4]}],
    )
    def test_unreadable_values_are_refused(self, values: dict[str, object]) -> None:
        with pytest.raises(SelectionError, match="cannot be read"):
            Selection.from_dict(values)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), "3", None, True])
    def test_coordinates_must_be_finite_numbers(self, value: object) -> None:
        with pytest.raises(SelectionError, match="finite number"):
            Click(value, 1)  # type: ignore[arg-type]

    @pytest.mark.parametrize("corners", [(2, 0, 2, 5), (3, 0, 2, 5), (0, 5, 5, 4)])
    def test_a_box_without_area_is_refused(self, corners: tuple[float, float, float, float]) -> None:
        with pytest.raises(SelectionError, match="no area"):
            Box(*corners)

    @pytest.mark.parametrize("frame_index", [-1, 1.5, True])
    def test_the_frame_number_must_be_whole_and_not_negative(self, frame_index: int) -> None:
        with pytest.raises(SelectionError, match="whole number"):
            Selection(frame_index)

    @pytest.mark.parametrize(
        ("selection", "message"),
        [
            (Selection(), "nothing is selected"),
            (Selection(clicks=(Click(1, 1, is_positive=False),)), "nothing is selected"),
            (Selection(clicks=(Click(10, 1),)), "outside the 10x8 frame"),
            (Selection(clicks=(Click(1, -0.5),)), "outside the 10x8 frame"),
            (Selection(box=Box(10, 0, 12, 3)), "outside the 10x8 frame"),
            (Selection(2, (Click(1, 1),)), "choose a frame from 0 to 1"),
        ],
    )
    def test_what_does_not_fit_the_clip_is_refused(self, selection: Selection, message: str) -> None:
        with pytest.raises(SelectionError, match=message):
            check_selection(selection, shape=(2, 8, 10))
