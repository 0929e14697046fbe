"""Selections, the embedded segmenter, propagation and the overlay."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation import (
    Box,
    Click,
    FramesError,
    SceneCutWarning,
    Selection,
    SelectionError,
    UnknownSegmenterError,
    describe_problem,
    list_segmenters,
    load_segmenter,
    paint_mask,
)
from segmentation.clicks import check_selection
from segmentation.propagation import CarriedMask, carry_mask, follow, selection_from_mask
from segmentation.vision import optical_flow

SIZE = 96


def disc_clip(
    num_frames: int = 4, *, size: int = SIZE, step: float = 3.0, start: float = 0.4
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A shaded red disc that moves to the right over a textured green ground, and its masks."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    texture = cv2.GaussianBlur(rng.normal(0, 60, (size, size)).astype(np.float32), (0, 0), 2)
    ground = np.stack([40 + texture, 130 + y / size * 60 + texture, 60 + texture], axis=-1)
    frames, masks = [], []
    for index in range(num_frames):
        across, down = x - (start * size + step * index), y - 0.5 * size
        inside = np.hypot(across, down) < 0.2 * size
        spots = 25 * np.sin(across / 3) * np.sin(down / 3)
        shade = 1 - 0.3 * (across + down) / (0.4 * size)
        disc = np.stack([190 * shade + spots, 40 * shade, 40 * shade], axis=-1)
        frames.append(np.where(inside[..., None], disc, ground))
        masks.append(inside)
    return np.clip(np.stack(frames), 0, 255).astype(np.uint8), np.stack(masks)


def overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / (first | second).sum())


CENTRE = Selection(clicks=(Click(0.4 * SIZE, 0.5 * SIZE),))


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


def carried_on(frames: NDArray[np.uint8], mask: NDArray[np.bool_]) -> CarriedMask:
    """The mask of the first frame on the last one."""
    before, after = frames[0], frames[-1]
    flows = optical_flow(before, after), optical_flow(after, before)
    return carry_mask(mask, previous=before, frame=after, flows=flows)


class TestPropagation:
    def test_a_still_clip_keeps_its_mask(self) -> None:
        frames, masks = disc_clip(1)
        carried = carried_on(frames, masks[0])
        assert np.array_equal(carried.mask, masks[0])
        assert carried.trust == 1

    def test_the_flow_carries_the_mask_along(self) -> None:
        frames, masks = disc_clip(2)
        carried = carried_on(frames, masks[0])
        assert overlap(carried.mask, masks[1]) > max(0.9, overlap(masks[0], masks[1]))

    def test_an_object_that_jumps_too_far_for_the_flow_is_found_by_its_look(self) -> None:
        frames, masks = disc_clip(2, step=35.0)
        carried = carried_on(frames, masks[0])
        assert overlap(masks[0], masks[1]) < 0.1
        assert overlap(carried.mask, masks[1]) > 0.8

    def test_a_cut_to_another_scene_loses_the_object(self) -> None:
        frames, masks = disc_clip(2)
        elsewhere = np.random.default_rng(1).integers(0, 256, frames[1].shape, dtype=np.uint8)
        clip = np.stack([frames[0], elsewhere])
        with pytest.warns(SceneCutWarning):
            followed = dict(follow(clip, 0, masks[0], correct=lambda _index, carried: carried.mask))
        assert not followed[1].any()

    def test_a_given_mask_is_followed_like_a_selection(self) -> None:
        frames, masks = disc_clip(4)
        for index, mask in load_segmenter().open(frames).follow(1, masks[1]):
            assert overlap(mask, masks[index]) > 0.9

    def test_a_lost_object_stays_lost(self) -> None:
        frames, masks = disc_clip(4)
        followed = dict(follow(frames, 0, masks[0], correct=lambda index, c: c.mask & (index < 2)))
        assert followed[1].any()
        assert not followed[2].any()
        assert not followed[3].any()

    def test_a_mask_becomes_its_box_and_an_inner_click(self) -> None:
        mask = np.zeros((10, 12), bool)
        mask[2:7, 3:9] = True
        selection = selection_from_mask(mask, frame_index=4)
        assert selection.frame_index == 4
        assert selection.box == Box(3, 2, 9, 7)
        assert mask[int(selection.clicks[0].y), int(selection.clicks[0].x)]


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


class TestRegistry:
    def test_the_first_one_needs_no_download_and_is_never_called_sam(self) -> None:
        first = list_segmenters()[0]
        assert first.is_ready()
        assert first.size_bytes == 0
        assert "sam" not in (first.name + first.label + first.description).lower().replace("same", "")

    def test_unknown_names_list_the_known_ones(self) -> None:
        with pytest.raises(UnknownSegmenterError, match="embedded, sam-vit-b"):
            load_segmenter("sam9")

    def test_the_embedded_one_takes_no_checkpoint(self, tmp_path: object) -> None:
        with pytest.raises(UnknownSegmenterError, match="no weights"):
            load_segmenter(checkpoint=tmp_path)  # type: ignore[arg-type]
