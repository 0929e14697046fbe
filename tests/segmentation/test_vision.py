"""Copies of another size, flow in other pixels, and steps that are chained."""

from __future__ import annotations

import numpy as np
import pytest

from segmentation import Box, Click, Selection
from segmentation.vision import chained, enlarged, reduced, resized, scaled


class TestScaling:
    def test_a_selection_follows_its_frame(self) -> None:
        frame = np.zeros((50, 100, 3), np.uint8)
        image = reduced(frame, 20)
        assert image.shape == (10, 20, 3)
        selection = Selection(3, (Click(50, 25, is_positive=False),), Box(10, 20, 30, 40))
        expected = Selection(3, (Click(10, 5, is_positive=False),), Box(2, 4, 6, 8))
        assert scaled(selection, frame, image) == expected

    def test_a_mask_comes_back_in_its_size(self) -> None:
        mask = np.zeros((50, 100), bool)
        mask[10:30, 20:60] = True
        image = np.zeros((25, 50, 3), np.uint8)
        assert np.array_equal(resized(resized(mask, image), mask), mask)
        assert reduced(image, 400).shape == image.shape


class TestFlow:
    def test_steps_are_chained(self) -> None:
        across = np.zeros((20, 30, 2), np.float32)
        across[..., 0] = 3
        assert chained(across, across)[10, 10] == pytest.approx([6, 0])

    def test_a_flow_is_measured_in_pixels_of_its_size(self) -> None:
        across = np.full((20, 30, 2), 2, np.float32)
        assert enlarged(across, (40, 90))[20, 40] == pytest.approx([6, 4])
