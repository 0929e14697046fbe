"""What moves unlike its surroundings, and the flows of a clip, which are computed once."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation import load_segmenter
from segmentation.embedded import motion
from segmentation.embedded.motion import ClipMotion, Motion
from segmentation.vision import optical_flow
from tests.segmentation.clips import hidden_clip


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
