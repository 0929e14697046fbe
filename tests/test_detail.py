"""Fine detail of the source returns where the edit keeps its structure, and only there."""

import numpy as np
import pytest
from numpy.typing import NDArray

from dreammotion_core.finishing import structure_kept


def stripes(horizontal: bool, dark: tuple[int, int, int], light: tuple[int, int, int]) -> NDArray[np.float32]:
    """(1, 32, 32, 3) of stripes four pixels wide."""
    y, x = np.mgrid[:32, :32]
    on = ((y if horizontal else x) // 4) % 2 == 0
    return np.where(on[..., None], np.float32(light), np.float32(dark))[None].astype(np.float32)


def test_the_same_picture_keeps_all_detail_exactly() -> None:
    clip = np.random.default_rng(0).uniform(0, 255, (2, 16, 24, 3)).astype(np.float32)

    assert (structure_kept(clip, clip, window=4) == 1).all()


def test_another_colour_keeps_the_detail_of_the_same_structure() -> None:
    red = stripes(True, (120, 20, 20), (230, 120, 110))
    blue = stripes(True, (20, 40, 130), (110, 140, 250))

    assert structure_kept(blue, red, window=4).min() > 0.9


@pytest.mark.parametrize("dark_first", [True, False])
def test_another_structure_takes_no_detail(dark_first: bool) -> None:
    colours = ((120, 20, 20), (230, 120, 110))
    across = stripes(False, *(colours if dark_first else colours[::-1]))

    assert structure_kept(across, stripes(True, *colours), window=4)[0, 8:24, 8:24].max() < 0.35


def test_a_plain_place_made_plain_in_another_colour_keeps_its_grain() -> None:
    grey, green = np.full((1, 16, 16, 3), 120, np.float32), np.full((1, 16, 16, 3), (40, 160, 80), np.float32)

    assert structure_kept(green, grey, window=4).min() > 0.99
