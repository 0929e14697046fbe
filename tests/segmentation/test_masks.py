"""Masks changed, painted and described."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation import FramesError, describe_problem, paint_mask
from segmentation.masks import fill_box, fill_holes, invert, smooth_in_time
from tests.segmentation.clips import disc_clip, overlap


@pytest.fixture
def masks() -> NDArray[np.bool_]:
    masks = np.zeros((3, 12, 16), bool)
    masks[0, 2, 3] = masks[0, 8, 9] = masks[0, 5, 1] = True
    masks[2, 0:5, 4:9] = True
    masks[2, 2, 6] = False
    return masks


def test_a_box_is_tight_and_empty_frames_stay_empty(masks: NDArray[np.bool_]) -> None:
    boxes = fill_box(masks)
    expected = np.zeros_like(masks)
    expected[0, 2:9, 1:10] = True
    expected[2, 0:5, 4:9] = True
    assert np.array_equal(boxes, expected)


def test_holes_are_filled_and_bays_are_not(masks: NDArray[np.bool_]) -> None:
    filled = fill_holes(masks)
    assert filled[2, 2, 6]
    assert np.array_equal(filled[:2], masks[:2])
    masks[2, 0:3, 6] = False
    assert np.array_equal(fill_holes(masks), masks)


def test_inverting_twice_changes_nothing(masks: NDArray[np.bool_]) -> None:
    before = masks.copy()
    assert np.array_equal(invert(invert(masks)), before)
    assert not (invert(masks) & masks).any()
    assert np.array_equal(masks, before)


def test_a_flicker_of_one_frame_goes_and_a_moving_object_keeps_its_outline() -> None:
    frames, masks = disc_clip(5, step=6.0)
    flickering = masks.copy()
    flickering[2, 40:56, 40:52] = False
    flickering[2, 5:15, 5:15] = True
    smooth = smooth_in_time(flickering, frames=frames)
    assert overlap(smooth[2], masks[2]) > 0.95 > overlap(flickering[2], masks[2])
    assert all(overlap(found, mask) > 0.95 for found, mask in zip(smooth, masks, strict=True))


def test_a_longer_reach_outvotes_a_longer_flicker() -> None:
    frames, masks = disc_clip(7, step=2.0)
    flickering = masks.copy()
    flickering[2:4, 40:56, 40:56] = False
    near = smooth_in_time(flickering, frames=frames, reach=1)
    far = smooth_in_time(flickering, frames=frames, reach=3)
    assert overlap(far[3], masks[3]) > 0.97 > overlap(near[3], masks[3])


def test_without_frames_pixels_are_compared_in_place() -> None:
    masks = np.zeros((3, 4, 4), bool)
    masks[:, 1:3, 1:3] = True
    masks[1, 0, 0], masks[1, 1, 1] = True, False
    expected = masks[[0, 0, 2]]
    assert np.array_equal(smooth_in_time(masks), expected)
    assert np.array_equal(smooth_in_time(masks, within=range(1, 2)), expected)
    assert np.array_equal(smooth_in_time(masks, within=range(2, 3)), masks)


def test_lost_frames_stay_lost_and_do_not_vote() -> None:
    masks = np.zeros((4, 4, 4), bool)
    masks[[0, 2, 3], 1:3, 1:3] = True
    assert np.array_equal(smooth_in_time(masks), masks)


def test_what_does_not_fit_is_refused() -> None:
    masks = np.zeros((2, 4, 4), bool)
    with pytest.raises(FramesError, match="same size"):
        smooth_in_time(masks, frames=np.zeros((3, 4, 4, 3), np.uint8))
    with pytest.raises(FramesError, match="from 1"):
        smooth_in_time(masks, reach=0)
    for wrong in (masks[0], masks.astype(np.uint8)):
        for operation in (fill_box, fill_holes, invert, smooth_in_time):
            with pytest.raises(FramesError, match="height, width"):
                operation(wrong)  # type: ignore[operator]


class TestOverlay:
    def test_painting_leaves_the_frame_and_the_background_untouched(self) -> None:
        frames, masks = disc_clip(1)
        before = frames[0].copy()
        painted = paint_mask(frames[0], masks[0])
        assert np.array_equal(frames[0], before)
        assert np.array_equal(painted[~masks[0]], before[~masks[0]])
        assert (painted[masks[0]] != before[masks[0]]).any(axis=-1).all()

    def test_painting_refuses_a_mask_of_another_size(self) -> None:
        with pytest.raises(FramesError, match="same size"):
            paint_mask(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), bool))

    def test_problems_are_said_in_plain_words(self) -> None:
        mask = np.zeros((40, 40), bool)
        assert "Nothing" in str(describe_problem(mask))
        assert "whole frame" in str(describe_problem(~mask))
        mask[0, 0] = True
        assert "few pixels" in str(describe_problem(mask))
        mask[10:20, 10:20] = True
        assert describe_problem(mask) is None
