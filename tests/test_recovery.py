"""A lost object leaves empty masks; it is found again when it returns, and nothing else is taken for it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation import load_segmenter
from segmentation.propagation import LOWEST_TRUST, find_again, follow
from tests.segmentation.test_embedded import disc_clip, overlap
from training.world.render import background, render
from training.world.scene import Shot, sample_scene

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
