"""Windows of long clips: they cover every frame, move with the step, cross no cut, and add up."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from dreammotion_core.method.windows import Windows, joined, mean_losses
from dreammotion_core.values import StepLosses


@pytest.mark.parametrize(
    ("num_frames", "length", "overlap"), [(40, 8, 0), (41, 8, 2), (9, 8, 7), (100, 3, 1)]
)
@pytest.mark.parametrize("cuts", [(), (5, 20), (1, 2)])
def test_windows_of_full_length_cover_every_frame_at_every_step(
    num_frames: int, length: int, overlap: int, cuts: tuple[int, ...]
) -> None:
    windows = Windows(num_frames, length, overlap, cuts, seed=3)
    for step in range(1, 30):
        found = windows.at(step)

        assert {frame for window in found for frame in window} == set(range(num_frames))
        assert found == sorted(found, key=lambda window: window.start)
        for window in found:
            assert not any(window.start < cut < window.stop for cut in cuts)
            scene = [0, *(cut for cut in cuts if cut < num_frames), num_frames]
            room = next(b - a for a, b in pairwise(scene) if a <= window.start < b)
            assert len(window) == min(length, room)


def test_borders_move_with_the_step_and_follow_from_the_seed() -> None:
    windows, again, other = (Windows(40, 8, seed=seed) for seed in (3, 3, 4))
    borders = [{window.start for window in windows.at(step)} for step in range(1, 41)]

    assert borders == [{window.start for window in again.at(step)} for step in range(1, 41)]
    assert borders != [{window.start for window in other.at(step)} for step in range(1, 41)]
    for frame in range(1, 40):
        # No place is a border at most of the steps, apart from where the last window is moved to.
        assert sum(frame in each for each in borders) < 20 or frame == 32
    assert max(len(windows.at(step)) for step in range(1, 41)) == 6


def test_a_short_clip_is_one_window_whatever_the_cuts() -> None:
    assert Windows(8, 8, cuts=(3,)).at(7) == [range(8)]


def test_parts_are_joined_by_their_distance_from_the_ends() -> None:
    clip = torch.randn(1, 2, 10, 3, 3)
    windows = [range(0, 4), range(2, 6), range(6, 10)]
    whole = joined(((w, clip[:, :, w.start : w.stop]) for w in windows), num_frames=10)
    mixed = joined(((w, torch.full((1, 1, len(w), 1, 1), float(w.start))) for w in windows), num_frames=10)

    torch.testing.assert_close(whole, clip)
    assert mixed.flatten().tolist() == pytest.approx([0, 0, 2 * 1 / 3, 2 * 2 / 3, 2, 2, 6, 6, 6, 6])
    assert joined([(range(10), clip)], num_frames=10) is clip


def test_losses_are_means_over_the_frames() -> None:
    one, other = StepLosses(3.0, 1.0, 0.0), StepLosses(0.0, 5.0, 4.0)

    assert mean_losses([one], [range(4)]) is one
    mean = mean_losses([one, other], [range(6), range(6, 8)])
    assert (mean.spatial, mean.temporal) == (2.0, 1.0)
    assert mean.appearance == pytest.approx((0.75 * 9) ** 0.5)
