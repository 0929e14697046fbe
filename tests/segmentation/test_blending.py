"""Two masks of one frame, followed from either side."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation.amending import blend_masks

Y, X = np.mgrid[:64, :96]
EMPTY = np.zeros((64, 96), bool)


def disc(across: float, radius: float = 16) -> NDArray[np.bool_]:
    return np.hypot(X - across, Y - 32) < radius


def middle(mask: NDArray[np.bool_]) -> float:
    return float(X[mask].mean())


def test_the_outline_moves_from_one_to_the_other() -> None:
    before, after = disc(40), disc(48)
    found = [blend_masks(before, after, share=share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert np.array_equal(found[0], before)
    assert np.array_equal(found[-1], after)
    middles = [middle(mask) for mask in found]
    assert middles == sorted(middles)
    assert middles[2] == pytest.approx(44, abs=0.5)
    assert found[2].sum() == pytest.approx(before.sum(), rel=0.1)


def test_of_two_that_show_different_things_the_nearer_one_stands() -> None:
    before, after = disc(24), disc(70)
    assert np.array_equal(blend_masks(before, after, share=0.4), before)
    assert np.array_equal(blend_masks(before, after, share=0.6), after)


@pytest.mark.parametrize(("share", "is_seen"), [(0.1, False), (0.4, True), (0.9, True)])
def test_an_object_that_one_side_lost_is_where_the_other_sees_it(share: float, is_seen: bool) -> None:
    seen = disc(40)
    assert np.array_equal(blend_masks(EMPTY, seen, share=share), seen if is_seen else EMPTY)
    assert np.array_equal(blend_masks(seen, EMPTY, share=1 - share), seen if is_seen else EMPTY)


def test_an_object_that_both_lost_is_lost() -> None:
    assert not blend_masks(EMPTY, EMPTY, share=0.5).any()
