from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from dreammotion_core.errors import InputError
from training.data import CLIP_PAIRS, PICTURE_PAIRS, kept_array, rendered_clips, rendered_pairs, sample_pair
from training.world import MATERIALS, Scene


@pytest.mark.parametrize("kept", [0, 5, 60, 5000])
@pytest.mark.parametrize("in_memory", [True, False])
def test_damaged_arrays_of_the_cache_say_what_to_delete(kept: int, in_memory: bool, tmp_path: Path) -> None:
    path = tmp_path / "clips.npy"
    np.save(path, np.zeros(10_000, np.uint8))
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(InputError, match=r"clips\.npy is damaged \(.+\); delete that file, and the same"):
        kept_array(path, in_memory=in_memory)


def test_clips_that_were_cut_short_are_refused(tmp_path: Path) -> None:
    rendered_clips(tmp_path, 1, num_frames=1)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(InputError, match=r"npy is damaged"):
        rendered_clips(tmp_path, 1, num_frames=1)


def test_pairs_differ_in_one_visible_attribute_and_are_never_held_out() -> None:
    changes = set()
    for seed in range(200):
        pair = sample_pair(seed)
        assert not any(scene.is_held_out for scene in pair)
        one, other = pair
        (changed,) = (f.name for f in fields(Scene) if getattr(one, f.name) != getattr(other, f.name))
        assert changed != "colour" or MATERIALS[one.material].keeps_colour
        changes.add(changed)

    assert changes == {"colour", "material", "noun"}
    assert max(sample_pair(seed)[0].size for seed in range(50)) > 0.7  # close-ups


def test_rendered_pairs_are_kept_with_the_coverage_of_their_objects(tmp_path: Path) -> None:
    first = rendered_pairs(tmp_path, PICTURE_PAIRS, 3)
    again = rendered_pairs(tmp_path, PICTURE_PAIRS, 3)

    assert first.frames.shape == (3, 2, 2, 128, 128, 3)
    assert first.coverage.shape == (3, 2, 2, 16, 16)
    assert 0 < first.coverage.mean() < 0.6
    assert np.array_equal(first.frames, again.frames)
    assert first.scenes(1) == sample_pair(PICTURE_PAIRS.first_seed + 1)
    assert len(list(tmp_path.iterdir())) == 2
    assert rendered_pairs(tmp_path, CLIP_PAIRS, 1).frames.shape == (1, 2, 9, 128, 128, 3)
