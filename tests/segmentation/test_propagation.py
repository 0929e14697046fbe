"""A mask carried along: followed, lost, found again where it returns, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation import Box, Click, SceneCutWarning, Selection, load_segmenter
from segmentation.propagation import (
    LOWEST_TRUST,
    CarriedMask,
    carry_mask,
    find_again,
    follow,
    selection_from_mask,
    with_inner_click,
)
from segmentation.vision import optical_flow
from tests.segmentation.clips import disc_clip, overlap
from training.world.render import background, render
from training.world.scene import Shot, sample_scene


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


FIRST_SEED = 2_000_000_000


def interrupted_clip(gone: range) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A moving disc that is not there on some frames."""
    frames, masks = disc_clip(9, step=4.0, start=0.35)
    ground, _ = disc_clip(1, start=-2.0)
    for index in gone:
        frames[index], masks[index] = ground[0], False
    return frames, masks


def test_an_object_that_returns_is_followed_again() -> None:
    frames, masks = interrupted_clip(range(3, 6))
    followed = dict(load_segmenter().open(frames).follow(0, masks[0]))
    assert [index for index in range(9) if not followed[index].any()] == [3, 4, 5]
    assert all(overlap(followed[index], masks[index]) > 0.85 for index in (1, 2, 6, 7, 8))


def test_it_is_found_again_backwards_too() -> None:
    frames, masks = interrupted_clip(range(3, 6))
    followed = dict(load_segmenter().open(frames).follow(8, masks[8]))
    assert not followed[4].any()
    assert overlap(followed[0], masks[0]) > 0.85


@pytest.mark.parametrize("seed", range(12))
def test_an_object_of_the_world_is_not_found_where_it_is_not(seed: int) -> None:
    scene = sample_scene(FIRST_SEED + seed)
    shot = Shot(num_frames=3, resolution=96)
    clip, empty = render(scene, shot=shot), background(scene, shot=shot)
    seen, mask = clip.frames[0].numpy(), clip.mask[0].numpy()
    assert find_again(mask, seen=seen, frame=empty[1].numpy()).trust < LOWEST_TRUST
    again = find_again(mask, seen=seen, frame=seen)
    assert np.array_equal(again.mask, mask)
    assert again.trust == 1


def test_a_wall_of_the_same_colour_is_not_the_object() -> None:
    seen = np.full((60, 80, 3), 40, np.uint8)
    seen[20:40, 30:50] = 200
    mask = (seen > 100).all(axis=-1)
    assert find_again(mask, seen=seen, frame=np.full_like(seen, 200)).trust == 0
    assert find_again(mask, seen=seen, frame=np.roll(seen, 20, axis=1)).trust == 1


def test_an_object_that_never_was_is_not_looked_for() -> None:
    frames, masks = disc_clip(3)
    nothing = np.zeros_like(masks[0])
    followed = dict(follow(frames, 1, nothing, correct=lambda _index, carried: carried.mask))
    assert not any(mask.any() for mask in followed.values())


def test_an_existing_mask_becomes_a_click_unless_just_that_is_taken_away() -> None:
    mask = np.zeros((20, 20), bool)
    mask[5:14, 5:14] = True
    selection = Selection(clicks=(Click(1, 1, is_positive=False),))
    assert with_inner_click(selection, mask).clicks == (Click(9.5, 9.5), *selection.clicks)
    middle = Selection(clicks=(Click(9, 9, is_positive=False),))
    assert with_inner_click(middle, mask) == middle
    assert with_inner_click(selection, np.zeros((20, 20), bool)) == selection
