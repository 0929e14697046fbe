"""A carried mask grown anew, what moves along with a click, and the motion that both are told by."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.davis.cases import clutter_cases
from segmentation import load_segmenter
from segmentation.embedded import motion
from segmentation.embedded.correcting import Regrower
from segmentation.embedded.growing import fate
from segmentation.embedded.motion import ClipMotion, Motion
from segmentation.vision import chained, enlarged, optical_flow
from tests.segmentation.test_embedded import overlap
from tests.segmentation.test_motion import hidden_clip

HEIGHT, WIDTH = 90, 120
Y, X = np.mgrid[:HEIGHT, :WIDTH]


def body(across: float = 60) -> NDArray[np.bool_]:
    return np.hypot((X - across) / 26, (Y - 45) / 18) < 1


def picture(mask: NDArray[np.bool_], *, seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(0, 10, (*mask.shape, 1))
    return np.clip(np.where(mask[..., None], (160, 90, 60), (80, 120, 70)) + noise, 0, 255).astype(np.uint8)


def regrown(carried: NDArray[np.bool_], *, first: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    mask = body()
    grower = Regrower(picture(mask), mask if first is None else first, motion=None)
    return grower.regrown(picture(mask, seed=1), carried, motion=None)


class TestRegrower:
    def test_what_was_lost_of_the_object_comes_back(self) -> None:
        carried = body() & (X < 66)
        assert overlap(regrown(carried), body()) > max(0.9, overlap(carried, body()) + 0.2)

    def test_what_the_mask_picked_up_on_the_way_falls_away(self) -> None:
        carried = body() | ((abs(Y - 45) < 12) & (X > 60) & (X < 108))
        assert overlap(regrown(carried), body()) > max(0.9, overlap(carried, body()) + 0.1)

    def test_an_outline_that_fits_is_left_to_the_pixel(self) -> None:
        assert np.array_equal(regrown(body()), body())

    def test_the_frame_may_be_larger_than_the_small_image(self) -> None:
        large = cv2.resize((body() & (X < 66)).astype(np.uint8), (3 * WIDTH, 3 * HEIGHT)) > 0
        found = regrown(large)
        assert found.shape == large.shape
        assert overlap(found[1::3, 1::3], body()) > 0.9

    @pytest.mark.parametrize("carried", [np.zeros((HEIGHT, WIDTH), bool), np.ones((HEIGHT, WIDTH), bool)])
    def test_where_nothing_can_be_learned_the_carried_mask_stays(self, carried: NDArray[np.bool_]) -> None:
        assert np.array_equal(regrown(carried), carried)
        assert np.array_equal(regrown(body(), first=carried), body())

    def test_without_the_motion_that_it_has_learned_the_carried_mask_stays(self) -> None:
        frames, masks = hidden_clip()
        motion = ClipMotion(frames).seen_on(frames[0], 0)
        half = masks[1] & (np.arange(frames.shape[2]) < 75)
        grower = Regrower(frames[0], masks[0], motion=motion)
        assert np.array_equal(grower.regrown(frames[1], half, motion=None), half)
        again = grower.regrown(frames[1], half, motion=ClipMotion(frames).seen_on(frames[1], 1))
        assert overlap(again, masks[1]) > overlap(half, masks[1]) + 0.1


def moving(part: NDArray[np.bool_]) -> Motion:
    """Motion of ten units on a part, none elsewhere."""
    features = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    features[part] = 10
    return Motion(features=features, picture=np.zeros((HEIGHT, WIDTH, 3), np.uint8), strength=1.0)


class TestFate:
    def test_the_region_that_moves_as_one_counts_most(self) -> None:
        regions = [body() & (X < 60), body(), body() | (X > 80)]
        shares = fate(regions, image=picture(body()), motion=moving(body()), point=(50, 45))
        assert int(np.argmax(shares)) == 1
        assert shares[1] > 0.9

    def test_what_reaches_round_the_frame_is_ground_and_says_nothing(self) -> None:
        regions = [body(), ~body()]
        assert not fate(regions, image=picture(body()), motion=moving(~body()), point=(5, 5)).any()

    def test_a_point_that_stands_still_says_nothing(self) -> None:
        assert not fate([body()], image=picture(body()), motion=moving(body()), point=(5, 5)).any()


class TestClipMotion:
    def test_a_kept_flow_is_the_flow(self) -> None:
        frames, masks = hidden_clip()
        inside = cv2.erode(masks[0].astype(np.uint8), np.ones((9, 9))) > 0
        kept, asked = ClipMotion(frames).flow(0, 1), optical_flow(frames[0], frames[1])
        assert kept.shape == asked.shape
        assert np.abs(kept - asked)[inside].max() < 0.5
        assert np.median(kept[inside], axis=0) == pytest.approx([3, 0], abs=0.2)

    def test_each_flow_is_worked_out_once_however_often_a_clip_is_followed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []
        known = motion.reduced_flow

        def counting(source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.float32]:
            asked.append(1)
            return known(source, target)

        monkeypatch.setattr(motion, "reduced_flow", counting)
        frames, masks = hidden_clip()
        session = load_segmenter().open(frames)
        first, second = (dict(session.follow(0, masks[0])) for _ in range(2))
        assert len(asked) == 4
        assert all(np.array_equal(first[index], second[index]) for index in first)

    def test_steps_are_chained(self) -> None:
        across = np.zeros((20, 30, 2), np.float32)
        across[..., 0] = 3
        assert chained(across, across)[10, 10] == pytest.approx([6, 0])

    def test_a_flow_is_measured_in_pixels_of_its_size(self) -> None:
        across = np.full((20, 30, 2), 2, np.float32)
        assert enlarged(across, (40, 90))[20, 40] == pytest.approx([6, 4])


class TestClutter:
    def test_a_click_in_clutter_is_followed(self) -> None:
        (case,) = clutter_cases(1, num_frames=5)
        assert case.masks[0][int(case.click.y), int(case.click.x)]
        overlaps = [
            overlap(mask, case.masks[index])
            for index, mask in load_segmenter().open(case.frames).propagate(case.selection)
        ]
        assert min(overlaps) > 0.5

    def test_the_same_number_is_the_same_clip(self) -> None:
        (once,), (again,) = (tuple(clutter_cases(1, num_frames=3)) for _ in range(2))
        assert np.array_equal(once.frames, again.frames)
        assert not np.array_equal(once.masks[0], once.masks[2])
