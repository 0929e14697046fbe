"""The tracker beside the truth: how it is judged, and that it follows what is hard to follow."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.tracking import Followed, compared, followed_clips, table
from dreammotion_core import list_models
from dreammotion_core.evaluation import PointTracks
from tests.evaluation.test_measuring import straight_tracks


def tracks_like(truth: np.ndarray, *, visible: bool = True) -> PointTracks:
    return PointTracks(truth, np.full(truth.shape[:2], visible), (400, 400))


class TestCompared:
    truth = straight_tracks((4.0, 0.0), (0.0, 3.0)).positions

    def test_the_truth_itself_is_found_throughout(self) -> None:
        assert compared(tracks_like(self.truth), truth=self.truth) == Followed(1, 1, 1)

    def test_what_is_lost_counts_as_not_found(self) -> None:
        assert compared(tracks_like(self.truth, visible=False), truth=self.truth) == Followed(0, 0, 0)

    def test_beside_the_truth_is_not_found_but_moves_alike(self) -> None:
        assert compared(tracks_like(self.truth + 3), truth=self.truth) == Followed(0, 1, pytest.approx(1))

    def test_the_other_way_does_not_agree(self) -> None:
        back = 200 - self.truth
        assert compared(tracks_like(back), truth=self.truth).agreement < -0.7

    def test_points_outside_the_picture_do_not_count(self) -> None:
        truth = self.truth + np.array([290.0, 0.0])  # the first leaves after two steps
        tracks = tracks_like(truth)
        tracks.visible[3:, 0] = False
        assert compared(tracks, truth=truth) == Followed(1, 1, 1)


def test_a_fast_toy_of_two_colours_is_followed() -> None:
    """A glowing green heart that bounces by ten pixels a frame before a desert as light as itself."""
    spec = next(spec for spec in list_models() if spec.name == "toybox-unet")
    source, perfect = followed_clips(125, spec=spec)
    in_grey, _ = followed_clips(125, spec=spec, grey=True)

    assert source.agreement > 0.7
    assert perfect.agreement > 0.7
    assert in_grey.agreement < 0.4


def test_the_table_gives_means() -> None:
    rows = table([("clips", [Followed(0.5, 0.8, 0.7), Followed(1.0, 1.0, 0.9)])]).splitlines()
    assert rows[-1] == "| clips | 75.0% | 90.0% | 0.800 |"
