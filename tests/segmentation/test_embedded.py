"""The embedded segmenter from clicks, boxes and corrections to masks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.davis.cases import clutter_cases
from segmentation import Box, Click, FramesError, Selection, SelectionError, load_segmenter
from segmentation.base import FrameMask
from segmentation.embedded.segmenter import EmbeddedSession
from tests.segmentation.clips import (
    BODY,
    CENTRE,
    SIZE,
    TAIL,
    X,
    disc_clip,
    hidden_clip,
    overlap,
    tailed_picture,
)


class TestEmbedded:
    @pytest.mark.parametrize("size", [64, 96, 131, 480])
    def test_one_click_finds_a_shaded_object(self, size: int) -> None:
        frames, masks = disc_clip(1, size=size)
        selection = Selection(clicks=(Click(0.4 * size, 0.5 * size),))
        assert overlap(load_segmenter().open(frames).mask_at(selection), masks[0]) > 0.9

    def test_the_object_is_followed_both_ways(self) -> None:
        frames, masks = disc_clip(5)
        selection = Selection(2, (Click(0.4 * SIZE + 6, 0.5 * SIZE),))
        followed = list(load_segmenter().open(frames).propagate(selection))
        assert [index for index, _ in followed] == [2, 3, 4, 1, 0]
        for index, mask in followed:
            assert overlap(mask, masks[index]) > 0.9

    def test_an_object_that_leaves_the_frame_leaves_an_empty_mask(self) -> None:
        frames, masks = disc_clip(12, step=8.0, start=0.5)
        selection = Selection(clicks=(Click(0.5 * SIZE, 0.5 * SIZE),))
        followed = dict(load_segmenter().open(frames).propagate(selection))
        assert not masks[-1].any()
        assert not followed[11].any()
        assert overlap(followed[3], masks[3]) > 0.8

    def test_a_negative_click_takes_its_region_away(self) -> None:
        frames, masks = disc_clip(1)
        ground = Click(0.9 * SIZE, 0.1 * SIZE)
        both = Selection(box=Box(0, 0, SIZE, SIZE)).with_click(ground).with_click(CENTRE.clicks[0])
        session = load_segmenter().open(frames)
        without = session.mask_at(both.with_click(Click(ground.x + 3, ground.y + 3, is_positive=False)))
        assert not without[int(ground.y) + 3, int(ground.x) + 3]
        assert overlap(without, masks[0]) > overlap(session.mask_at(both), masks[0])

    def test_every_positive_click_is_inside_the_mask(self) -> None:
        frames, _ = disc_clip(1)
        far = Click(0.9 * SIZE, 0.9 * SIZE)
        mask = load_segmenter().open(frames).mask_at(CENTRE.with_click(far))
        assert mask[int(far.y), int(far.x)]
        assert mask[int(0.5 * SIZE), int(0.4 * SIZE)]

    def test_a_box_finds_the_object_in_it(self) -> None:
        frames, masks = disc_clip(1)
        box = Box(0.15 * SIZE, 0.25 * SIZE, 0.65 * SIZE, 0.75 * SIZE)
        assert overlap(load_segmenter().open(frames).mask_at(Selection(box=box)), masks[0]) > 0.9

    @pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 2), (17, 33)])
    def test_tiny_and_plain_frames_are_answered(self, shape: tuple[int, int]) -> None:
        frames = np.full((2, *shape, 3), 90, np.uint8)
        session = load_segmenter().open(frames)
        for selection in (Selection(clicks=(Click(0, 0),)), Selection(box=Box(0, 0, 1, 1))):
            followed = dict(session.propagate(selection))
            assert {mask.shape for mask in followed.values()} == {shape}
            assert {mask.dtype for mask in followed.values()} == {np.dtype(bool)}

    def test_the_same_click_gives_the_same_mask(self) -> None:
        session = load_segmenter().open(disc_clip(1)[0])
        assert np.array_equal(session.mask_at(CENTRE), session.mask_at(CENTRE))

    def test_propagation_refuses_at_the_call_and_can_be_closed(self) -> None:
        session = load_segmenter().open(disc_clip(3)[0])
        with pytest.raises(SelectionError, match="nothing is selected"):
            session.propagate(Selection())
        walk = session.propagate(CENTRE)
        next(walk)
        walk.close()
        assert next(walk, None) is None

    @pytest.mark.parametrize(
        "frames",
        [
            np.zeros((4, 4, 3), np.uint8),
            np.zeros((0, 4, 4, 3), np.uint8),
            np.zeros((2, 4, 4, 4), np.uint8),
            np.zeros((2, 4, 4, 3), np.float32),
        ],
    )
    def test_what_is_no_clip_is_refused(self, frames: NDArray[np.uint8]) -> None:
        with pytest.raises(FramesError, match="uint8 RGB"):
            load_segmenter().open(frames)


class TestMotion:
    def test_a_click_finds_what_only_its_motion_shows(self) -> None:
        frames, masks = hidden_clip()
        click = Selection(clicks=(Click(88, 66),))
        moving = load_segmenter().open(frames).mask_at(click)
        still = load_segmenter().open(frames[:1]).mask_at(click)
        assert overlap(moving, masks[0]) > max(0.6, overlap(still, masks[0]))

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


class TestCorrections:
    @pytest.fixture
    def session(self) -> EmbeddedSession:
        return load_segmenter().open(tailed_picture()[None])  # type: ignore[return-value]

    def test_what_no_click_changed_stays_to_the_pixel(self, session: EmbeddedSession) -> None:
        rough = BODY & (X % 7 > 0)
        found = session.mask_at(Selection(0, (Click(115, 62),)), prior=rough)
        assert (found & TAIL).sum() > 0.8 * TAIL.sum()
        assert np.array_equal(found[:, :70], rough[:, :70])
        assert np.array_equal(session.mask_at(Selection(0, (Click(60.5, 70.5),)), prior=BODY), BODY)

    def test_a_lost_object_is_selected_anew(self, session: EmbeddedSession) -> None:
        nothing = np.zeros_like(BODY)
        found = session.mask_at(Selection(0, (Click(60, 70),)), prior=nothing)
        assert overlap(found, BODY) > 0.7

    def test_a_negative_click_leaves_the_object_that_the_first_one_found(
        self, session: EmbeddedSession
    ) -> None:
        first = Selection(0, (Click(50, 75),))
        found = session.mask_at(first)
        both = session.mask_at(first.with_click(Click(20, 20, is_positive=False)))
        assert np.array_equal(both, found)

    def test_each_click_adds_to_those_before_it(self, session: EmbeddedSession) -> None:
        first = Selection(0, (Click(50, 75),))
        both = session.mask_at(first.with_click(Click(120, 62)))
        assert both[62, 120]
        assert both[session.mask_at(first)].mean() > 0.9


def with_spill(mask: FrameMask) -> FrameMask:
    """The mask with a piece of the ground far from it."""
    spilt = mask.copy()
    spilt[2:24, 70:94] = True
    return spilt


def test_the_embedded_one_takes_the_clicked_piece_away_and_keeps_the_rest() -> None:
    frames, masks = disc_clip(6)
    session, spilt = load_segmenter().open(frames), with_spill(masks[0])
    corrected = session.mask_at(Selection(clicks=(Click(84, 12, is_positive=False),)), prior=spilt)
    assert overlap(corrected, masks[0]) > 0.9
    half = masks[0].copy()
    half[:, : int(0.4 * SIZE)] = False
    grown = session.mask_at(Selection(clicks=(Click(0.3 * SIZE, 0.5 * SIZE),)), prior=half)
    assert overlap(grown, masks[0]) > 0.9


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
