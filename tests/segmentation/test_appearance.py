"""The look of an object, learned from one frame and kept up to date."""

from __future__ import annotations

import numpy as np

from segmentation.embedded.appearance import Appearance, describe_pixels
from tests.segmentation.clips import SIZE, disc, grainy_picture


class TestAppearance:
    def test_tells_the_object_from_its_ground_on_another_frame(self) -> None:
        mask = disc()
        features = describe_pixels(grainy_picture(mask))
        looks = Appearance(features[mask], features[~mask])
        moved = disc(across=60)
        lean = looks.resemblance(describe_pixels(grainy_picture(moved, seed=1)).reshape(-1, 13)).reshape(
            SIZE, SIZE
        )
        assert ((lean > 0) == moved).mean() > 0.95

    def test_learns_a_ground_that_it_has_not_seen_before(self) -> None:
        mask = disc()
        features = describe_pixels(grainy_picture(mask))
        looks = Appearance(features[mask], features[~mask])
        # The new ground has a colour between the two known ones, but nearer to the object's.
        new = describe_pixels(np.full((SIZE, SIZE, 3), (140, 104, 70), np.uint8)).reshape(-1, 13)
        before = looks.resemblance(new).mean()
        for _ in range(6):
            looks.add(features[mask], new)
        assert looks.resemblance(new).mean() < before - 0.1
        assert looks.resemblance(features[mask]).mean() > looks.resemblance(new).mean()

    def test_a_larger_scale_sees_larger_surroundings(self) -> None:
        spot = np.zeros((SIZE, SIZE, 3), np.uint8)
        spot[48, 48] = 255
        near, far = (describe_pixels(spot, scale=scale)[48, 48, 3] for scale in (0.5, 2.0))
        assert near > far
