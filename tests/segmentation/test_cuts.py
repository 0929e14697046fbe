"""Scene cuts are found; motion, flashes, noise and plain frames are none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation import SceneCutWarning, load_segmenter
from segmentation.cuts import find_cuts, is_cut
from tests.segmentation.clips import disc_clip
from training.world.render import render
from training.world.scene import Shot, sample_scene

FIRST_SEED = 2_000_000_000


def world(seed: int, num_frames: int = 4) -> NDArray[np.uint8]:
    return render(
        sample_scene(FIRST_SEED + seed), shot=Shot(num_frames=num_frames, resolution=96)
    ).frames.numpy()


@pytest.mark.parametrize("seed", range(6))
def test_clips_of_the_world_have_no_cut_within_and_one_between(seed: int) -> None:
    clip = np.concatenate([world(seed), world(seed + 20)])
    assert find_cuts(clip) == (4,)


def test_every_cut_of_several_is_found() -> None:
    assert find_cuts(np.concatenate([world(1, 2), world(2, 1), world(3, 3)])) == (2, 3)


def test_scenes_of_the_same_colours_are_told_apart_by_their_edges() -> None:
    frame = world(4, 1)[0]
    tiles = [frame[y : y + 24, x : x + 24] for y in range(0, 96, 24) for x in range(0, 96, 24)]
    order = np.random.default_rng(0).permutation(16)
    rows = [np.concatenate([tiles[k] for k in order[r : r + 4]], axis=1) for r in range(0, 16, 4)]
    assert is_cut(frame, frame=np.concatenate(rows))


def test_fast_motion_a_flash_and_noise_are_no_cuts() -> None:
    frames, _ = disc_clip(4, step=14.0)
    assert find_cuts(frames) == ()
    bright = np.clip(frames[0].astype(int) + 60, 0, 255).astype(np.uint8)
    assert not is_cut(frames[0], frame=bright)
    noise = np.random.default_rng(0).normal(0, 8, frames[0].shape)
    assert not is_cut(frames[0], frame=np.clip(frames[0] + noise, 0, 255).astype(np.uint8))


def test_plain_frames_are_compared_by_colour_alone() -> None:
    black, grey = np.zeros((40, 60, 3), np.uint8), np.full((40, 60, 3), 120, np.uint8)
    assert not is_cut(black, frame=black)
    assert is_cut(black, frame=grey)
    assert is_cut(black, frame=disc_clip(1, size=60)[0][0][:40])


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (300, 7)])
def test_any_size_is_answered(shape: tuple[int, int]) -> None:
    assert find_cuts(np.full((3, *shape, 3), 7, np.uint8)) == ()
    assert find_cuts(np.full((1, *shape, 3), 7, np.uint8)) == ()


def test_an_image_model_finds_nothing_beyond_a_cut_in_either_direction() -> None:
    frames, masks = disc_clip(3)
    clip = np.concatenate([world(5, 2), frames, world(6, 2), frames])
    session = load_segmenter().open(clip)
    with pytest.warns(SceneCutWarning) as told:
        followed = [(index, bool(mask.any())) for index, mask in session.follow(3, masks[1])]
    assert [str(warning.message).split(" show")[0] for warning in told] == ["frames 5 to 9", "frames 0 to 1"]
    assert followed == [
        (3, True),
        (4, True),
        *((index, False) for index in range(5, 10)),
        (2, True),
        (1, False),
        (0, False),
    ]
