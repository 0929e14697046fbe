"""The region that a click or a box means."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation import Box
from segmentation.embedded.appearance import describe_frame
from segmentation.embedded.growing import common_fate, grown_from, object_in_box
from segmentation.embedded.motion import ClipMotion, Drift, Motion
from tests.segmentation.clips import (
    ACROSS,
    ELLIPSE,
    OBJECT,
    PLAIN,
    hidden_clip,
    overlap,
    picture_of,
    tailed_picture,
)


class TestGrownFrom:
    @pytest.mark.parametrize("radius", [6, 14])
    def test_a_disc_grows_to_the_object_that_it_lies_in(self, radius: float) -> None:
        image = tailed_picture()
        features = describe_frame(image, motion=None)
        found = grown_from(image, features=features, point=(50, 72), radius=radius)
        assert overlap(found, OBJECT) > 0.8

    def test_a_frame_of_one_colour_leaves_a_region_with_the_point(self) -> None:
        plain = PLAIN
        found = grown_from(plain, features=describe_frame(plain, motion=None), point=(3, 5), radius=8)
        assert found[5, 3]

    def test_what_moves_alike_is_told_from_what_does_not(self) -> None:
        plain = PLAIN
        velocity = np.where(OBJECT[..., None], (3.0, -2.0), (0.0, 0.0)).astype(np.float32)
        drift = Drift(velocity=velocity, distance=np.linalg.norm(velocity, axis=-1))
        features = describe_frame(plain, motion=drift.seen_on(plain))
        found = grown_from(plain, features=features, point=(50, 72), radius=10)
        assert overlap(found, OBJECT) > 0.8


def moving(part: NDArray[np.bool_]) -> Motion:
    """Motion of ten units on a part, none elsewhere."""
    features = np.zeros((90, 120, 3), np.float32)
    features[part] = 10
    return Motion(features=features, picture=np.zeros((90, 120, 3), np.uint8), strength=1.0)


class TestFate:
    def test_the_region_that_moves_as_one_counts_most(self) -> None:
        regions = [ELLIPSE & (ACROSS < 60), ELLIPSE, ELLIPSE | (ACROSS > 80)]
        shares = common_fate(regions, image=picture_of(ELLIPSE), motion=moving(ELLIPSE), point=(50, 45))
        assert int(np.argmax(shares)) == 1
        assert shares[1] > 0.9

    def test_what_reaches_round_the_frame_is_ground_and_says_nothing(self) -> None:
        regions = [ELLIPSE, ~ELLIPSE]
        assert not common_fate(
            regions, image=picture_of(ELLIPSE), motion=moving(~ELLIPSE), point=(5, 5)
        ).any()

    def test_a_point_that_stands_still_says_nothing(self) -> None:
        assert not common_fate(
            [ELLIPSE], image=picture_of(ELLIPSE), motion=moving(ELLIPSE), point=(5, 5)
        ).any()


class TestObjectInBox:
    def test_a_box_finds_what_only_its_motion_shows(self) -> None:
        frames, masks = hidden_clip()
        box = Box(38, 48, 102, 112)
        found = object_in_box(frames[0], box, motion=ClipMotion(frames).seen_on(frames[0], 0))
        assert overlap(found, masks[0]) > 0.7

    def test_a_box_in_which_nothing_differs_gives_its_ellipse(self) -> None:
        plain = np.full((40, 60, 3), 90, np.uint8)
        found = object_in_box(plain, Box(10, 10, 50, 30), motion=None)
        assert found[20, 30]
        assert not found[10, 10]
        assert found.sum() == pytest.approx(np.pi * 20 * 10, rel=0.1)
