"""A mask that is nearly right: what a click changes of it, and how it is grown anew on another frame."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation.embedded.appearance import describe_frame
from segmentation.embedded.correcting import SHARE_LEFT, Regrower, corrected
from segmentation.embedded.motion import ClipMotion
from tests.segmentation.clips import (
    ACROSS,
    BODY,
    DOWN,
    ELLIPSE,
    OBJECT,
    PLAIN,
    X,
    Y,
    hidden_clip,
    overlap,
    picture_of,
    tailed_picture,
)


def touched(
    mask: NDArray[np.bool_], x: int, y: int, *, is_positive: bool, opposite: tuple[tuple[int, int], ...] = ()
) -> NDArray[np.bool_]:
    image = tailed_picture()
    features = describe_frame(image, motion=None)
    found = corrected(
        mask, image=image, features=features, point=(x, y), is_positive=is_positive, opposite=opposite
    )
    assert found is not None
    return found


class TestCorrected:
    def test_a_click_on_what_is_missing_adds_it_up_to_its_edges(self) -> None:
        found = touched(BODY, 108, 62, is_positive=True)
        assert overlap(found, OBJECT) > 0.95
        assert found[BODY].all()

    def test_a_click_on_what_is_too_much_takes_it_away_up_to_the_edges(self) -> None:
        spilt = OBJECT | ((abs(X - 60) < 14) & (Y > 20) & (Y < 60))
        found = touched(spilt, 60, 33, is_positive=False)
        assert overlap(found, OBJECT) > 0.95
        assert not (found & ~spilt).any()

    def test_clicks_of_the_other_sign_are_spared(self) -> None:
        assert not touched(BODY, 108, 62, is_positive=True, opposite=((114, 62),))[62, 114]

    @pytest.mark.parametrize("is_positive", [True, False])
    def test_the_clicked_place_changes_even_where_nothing_has_an_edge(self, is_positive: bool) -> None:
        plain = PLAIN
        x, y = (110, 70) if is_positive else (60, 70)
        features = describe_frame(plain, motion=None)
        found = corrected(BODY, image=plain, features=features, point=(x, y), is_positive=is_positive)
        assert found is not None
        assert found[y, x] == is_positive
        assert SHARE_LEFT[0] < found.sum() / BODY.sum() < SHARE_LEFT[1]

    def test_a_click_far_away_or_on_nothing_points_at_something_else(self) -> None:
        small = np.hypot(X - 20, Y - 20) < 6
        image = tailed_picture()
        features = describe_frame(image, motion=None)
        for mask in (small, np.zeros_like(small)):
            found = corrected(mask, image=image, features=features, point=(120, 100), is_positive=True)
            assert found is None


def regrown(carried: NDArray[np.bool_], *, first: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    mask = ELLIPSE
    grower = Regrower(picture_of(mask), mask if first is None else first, motion=None)
    return grower.regrown(picture_of(mask, seed=1), carried, motion=None)


class TestRegrower:
    def test_what_was_lost_of_the_object_comes_back(self) -> None:
        carried = ELLIPSE & (ACROSS < 66)
        assert overlap(regrown(carried), ELLIPSE) > max(0.9, overlap(carried, ELLIPSE) + 0.2)

    def test_what_the_mask_picked_up_on_the_way_falls_away(self) -> None:
        carried = ELLIPSE | ((abs(DOWN - 45) < 12) & (ACROSS > 60) & (ACROSS < 108))
        assert overlap(regrown(carried), ELLIPSE) > max(0.9, overlap(carried, ELLIPSE) + 0.1)

    def test_an_outline_that_fits_is_left_to_the_pixel(self) -> None:
        assert np.array_equal(regrown(ELLIPSE), ELLIPSE)

    def test_the_frame_may_be_larger_than_the_small_image(self) -> None:
        large = cv2.resize((ELLIPSE & (ACROSS < 66)).astype(np.uint8), (360, 270)) > 0
        found = regrown(large)
        assert found.shape == large.shape
        assert overlap(found[1::3, 1::3], ELLIPSE) > 0.9

    @pytest.mark.parametrize("carried", [np.zeros((90, 120), bool), np.ones((90, 120), bool)])
    def test_where_nothing_can_be_learned_the_carried_mask_stays(self, carried: NDArray[np.bool_]) -> None:
        assert np.array_equal(regrown(carried), carried)
        assert np.array_equal(regrown(ELLIPSE, first=carried), ELLIPSE)

    def test_without_the_motion_that_it_has_learned_the_carried_mask_stays(self) -> None:
        frames, masks = hidden_clip()
        motion = ClipMotion(frames).seen_on(frames[0], 0)
        half = masks[1] & (np.arange(frames.shape[2]) < 75)
        grower = Regrower(frames[0], masks[0], motion=motion)
        assert np.array_equal(grower.regrown(frames[1], half, motion=None), half)
        again = grower.regrown(frames[1], half, motion=ClipMotion(frames).seen_on(frames[1], 1))
        assert overlap(again, masks[1]) > overlap(half, masks[1]) + 0.1
