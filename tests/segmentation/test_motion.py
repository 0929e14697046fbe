"""What moves unlike its surroundings, and what a click or a box makes of it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation import Box, Click, Selection, load_segmenter
from segmentation.embedded.growing import object_in_box
from segmentation.embedded.motion import ClipMotion, Motion
from segmentation.vision import reduced, resized, scaled

SIZE = 160


def hidden_clip(*, step: int = 3) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A patch of gravel that moves over gravel: only its motion tells where it is."""
    rng = np.random.default_rng(0)
    ground, patch = (
        cv2.GaussianBlur(rng.normal(0, 200, (SIZE, SIZE)).astype(np.float32), (0, 0), 2) + 128
        for _ in range(2)
    )
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    frames, masks = [], []
    for index in range(3):
        mask = np.hypot(x - 70 - step * index, y - 80) < 32
        frames.append(np.where(mask, np.roll(patch, step * index, axis=1), ground))
        masks.append(mask)
    return np.clip(np.stack(frames), 0, 255).astype(np.uint8)[..., None].repeat(3, axis=-1), np.stack(masks)


def overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / (first | second).sum())


def motion_of(frames: NDArray[np.uint8], index: int) -> Motion | None:
    return ClipMotion(frames).seen_on(frames[index], index)


class TestMotion:
    @pytest.mark.parametrize("index", [0, 2])
    def test_what_moves_stands_out_on_the_first_and_on_the_last_frame(self, index: int) -> None:
        frames, masks = hidden_clip()
        motion = motion_of(frames, index)
        assert motion is not None
        inside = masks[index].astype(np.uint8)
        assert motion.contrast(inside, 1 - inside) > 0.5
        assert motion.contrast(inside, inside) == pytest.approx(0, abs=1e-6)

    def test_the_motion_of_the_camera_is_taken_off(self) -> None:
        frames, masks = hidden_clip()
        shaken = np.stack([np.roll(frame, 2 * index, axis=0) for index, frame in enumerate(frames)])
        drift = ClipMotion(shaken).drift(0)
        assert drift is not None
        inside = cv2.erode(masks[0].astype(np.uint8), np.ones((9, 9))) > 0
        right, down = np.median(drift.velocity[inside], axis=0)
        assert right == pytest.approx(3, abs=0.5)
        assert down == pytest.approx(0, abs=0.5)
        around = cv2.dilate(masks[0].astype(np.uint8), np.ones((25, 25))) == 0
        assert np.median(drift.distance[around]) < 0.3

    def test_a_clip_that_stands_still_says_nothing(self) -> None:
        frames, masks = hidden_clip(step=0)
        motion = motion_of(frames, 0)
        inside = masks[0].astype(np.uint8)
        assert motion is not None
        assert motion.contrast(inside, 1 - inside) < 0.05

    def test_a_single_frame_and_a_cut_have_no_motion(self) -> None:
        frames, _ = hidden_clip()
        elsewhere = np.random.default_rng(1).integers(0, 256, frames[0].shape, dtype=np.uint8)
        assert motion_of(frames[:1], 0) is None
        assert motion_of(np.stack([frames[0], elsewhere]), 0) is None


class TestSelecting:
    def test_a_click_finds_what_only_its_motion_shows(self) -> None:
        frames, masks = hidden_clip()
        click = Selection(clicks=(Click(88, 66),))
        moving = load_segmenter().open(frames).mask_at(click)
        still = load_segmenter().open(frames[:1]).mask_at(click)
        assert overlap(moving, masks[0]) > max(0.6, overlap(still, masks[0]))

    def test_a_box_finds_what_only_its_motion_shows(self) -> None:
        frames, masks = hidden_clip()
        box = Box(38, 48, 102, 112)
        found = object_in_box(frames[0], box, motion=motion_of(frames, 0))
        assert overlap(found, masks[0]) > 0.7

    def test_a_box_in_which_nothing_differs_gives_its_ellipse(self) -> None:
        plain = np.full((40, 60, 3), 90, np.uint8)
        found = object_in_box(plain, Box(10, 10, 50, 30), motion=None)
        assert found[20, 30]
        assert not found[10, 10]
        assert found.sum() == pytest.approx(np.pi * 20 * 10, rel=0.1)

    def test_clicks_correct_a_box(self) -> None:
        frames, masks = hidden_clip()
        session = load_segmenter().open(frames)
        boxed = Selection(box=Box(38, 48, 102, 112))
        outside = session.mask_at(boxed.with_click(Click(140.5, 20.5)))
        assert outside[20, 140]
        assert outside[80, 70]
        assert not session.mask_at(boxed)[20, 140]
        inside = session.mask_at(boxed.with_click(Click(70.5, 80.5, is_positive=False)))
        assert not inside[80, 70]
        assert masks[0][80, 70]


class TestScaling:
    def test_a_selection_follows_its_frame(self) -> None:
        frame = np.zeros((50, 100, 3), np.uint8)
        image = reduced(frame, 20)
        assert image.shape == (10, 20, 3)
        selection = Selection(3, (Click(50, 25, is_positive=False),), Box(10, 20, 30, 40))
        expected = Selection(3, (Click(10, 5, is_positive=False),), Box(2, 4, 6, 8))
        assert scaled(selection, frame, image) == expected

    def test_a_mask_comes_back_in_its_size(self) -> None:
        mask = np.zeros((50, 100), bool)
        mask[10:30, 20:60] = True
        image = np.zeros((25, 50, 3), np.uint8)
        assert np.array_equal(resized(resized(mask, image), mask), mask)
        assert reduced(image, 400).shape == image.shape
