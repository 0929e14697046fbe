"""Flicker that an edit adds is taken out; what the source's light does, and a slow change, stays."""

import numpy as np
import pytest
from numpy.typing import NDArray

from dreammotion_core.finishing import blend, composite, feathered_alpha, steadied
from dreammotion_core.values import Frames, Mask

NUM_FRAMES = 8
GREEN = np.array([60, 140, 80], np.float32)


def moving_disc() -> tuple[Frames, Mask]:
    """A red disc on grey, one pixel further on every frame, with a little texture."""
    y, x = np.mgrid[:32, :48]
    mask = np.stack([(x - 14 - t) ** 2 + (y - 16) ** 2 < 81 for t in range(NUM_FRAMES)])
    source = np.full((*mask.shape, 3), 120, np.float32)
    source[mask] = (190, 70, 60)
    texture = np.random.default_rng(0).normal(0, 6, source.shape)
    return (source + texture).clip(0, 255).astype(np.uint8), mask


def edit_with(course: NDArray[np.floating], source: Frames, mask: Mask) -> NDArray[np.float32]:
    """The disc in green, its lightness following a course of 8-bit levels, over the source."""
    edited = GREEN + (source - source[mask].mean(axis=0)) + np.asarray(course)[:, None, None, None]
    return blend(source, edited.astype(np.float32), feathered_alpha(mask, width=1))


def levels(frames: NDArray[np.generic], mask: Mask) -> NDArray[np.float64]:
    """(F,) mean level inside the mask."""
    return np.array([frame[inside].mean() for frame, inside in zip(frames, mask, strict=True)])


def jitter(frames: NDArray[np.generic], mask: Mask) -> float:
    return float(np.abs(np.diff(levels(frames, mask))).mean())


def test_flicker_falls_to_what_the_source_has() -> None:
    source, mask = moving_disc()
    alpha = feathered_alpha(mask, width=1)
    flickering = edit_with(np.array([9, -12, 4, 15, -8, 0, 11, -14]), source, mask)

    steady = steadied(flickering, source=source, alpha=alpha, smoothing=8)

    assert jitter(flickering, mask) > 10 * jitter(source, mask)
    assert jitter(composite(source, steady, alpha), mask) < jitter(source, mask) + 0.4
    assert abs(levels(steady, mask).mean() - levels(flickering, mask).mean()) < 1.5


def test_light_that_changes_in_the_source_still_changes_in_the_edit() -> None:
    source, mask = moving_disc()
    lamp = np.array([0, 0, 30, 30, 0, 0, 30, 30])
    lit = (source + lamp[:, None, None, None]).astype(np.uint8)
    edit = edit_with(np.zeros(NUM_FRAMES), lit, mask)

    steady = steadied(edit, source=lit, alpha=feathered_alpha(mask, width=1), smoothing=8)

    assert np.corrcoef(levels(steady, mask), lamp)[0, 1] > 0.98


@pytest.mark.parametrize(("smoothing", "kept"), [(1.0, 0.7), (1000.0, 0.0)])
def test_a_slow_change_stays_as_far_as_the_smoothing_lets_it(smoothing: float, kept: float) -> None:
    source, mask = moving_disc()
    sunrise = edit_with(np.linspace(-20, 20, NUM_FRAMES), source, mask)

    steady = steadied(sunrise, source=source, alpha=feathered_alpha(mask, width=1), smoothing=smoothing)

    assert np.ptp(levels(steady, mask)) / np.ptp(levels(sunrise, mask)) == pytest.approx(kept, abs=0.15)


def test_what_is_not_edited_is_not_touched() -> None:
    source, mask = moving_disc()
    mask[3] = False
    alpha = feathered_alpha(mask, width=1)
    flickering = edit_with(np.arange(NUM_FRAMES) * 7 % 5 * 6, source, mask)

    steady = steadied(flickering, source=source, alpha=alpha, smoothing=8)

    assert np.array_equal(steady[alpha == 0], flickering[alpha == 0])
    assert np.isfinite(steady).all()


def test_an_unchanged_clip_stays_as_it_is() -> None:
    source, mask = moving_disc()
    same = source.astype(np.float32)

    assert np.array_equal(
        steadied(same, source=source, alpha=feathered_alpha(mask, width=1), smoothing=8), same
    )
