"""Mask health: what went wrong is found and said, what is fine is left alone."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation import FramesError, SelectionError, load_segmenter
from segmentation.health import (
    FrameHealth,
    Level,
    assess_masks,
    measure_mask,
    measure_masks,
    measure_resemblances,
    next_doubtful,
    review_object,
)
from segmentation.project import Prompt
from segmentation.tracks import Tracks
from tests.segmentation.clips import disc_clip
from training.world.render import object_mask
from training.world.scene import Shot, sample_scene

SIDE = 80


def discs(*radii: float, x: float = 40, step: float = 2.0) -> NDArray[np.bool_]:
    """A disc for each radius, each a step further to the right; none where the radius is 0."""
    columns, rows = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    return np.stack(
        [
            np.hypot(columns - x - step * index, rows - 40) < radius if radius else np.zeros_like(rows, bool)
            for index, radius in enumerate(radii)
        ]
    )


def levels(health: tuple[FrameHealth, ...]) -> str:
    return "".join(each.level[0] for each in health)


class TestMeasures:
    def test_a_mask_in_numbers(self) -> None:
        mask = np.zeros((10, 20), bool)
        mask[2:6, 4:8] = True
        mask[9, 15:19] = True
        measures = measure_mask(mask)
        assert measures.area == 0.1
        assert (measures.x, measures.y) == pytest.approx(((16 * 5.5 + 4 * 16.5) / 20, (16 * 3.5 + 36) / 20))
        assert measures.scattered == pytest.approx(0.2)
        assert measures.is_at_border
        assert not measure_mask(discs(5)[0]).is_at_border

    def test_moving_alone_changes_no_outline(self) -> None:
        _, (change,) = measure_masks(discs(10, 10, step=15))
        assert change.outline == 0
        assert change.distance == pytest.approx(15 / np.sqrt(discs(10)[0].sum()))

    def test_masks_may_come_one_by_one(self) -> None:
        masks = discs(5, 6, 7)
        assert measure_masks(mask for mask in masks) == measure_masks(masks)


class TestAssess:
    @pytest.mark.parametrize("seed", range(12))
    def test_true_masks_of_the_world_are_mostly_good_and_never_lost(self, seed: int) -> None:
        shot = Shot(num_frames=12, fps=24, resolution=96)
        masks = object_mask(sample_scene(2_000_000_000 + seed), shot=shot).numpy()
        health = assess_masks(masks, confirmed=[0])
        assert sum(each.level is not Level.GOOD for each in health) <= 1
        assert "lost here" not in {reason for each in health for reason in each.reasons}

    def test_growing_shrinking_and_jumping_are_said(self) -> None:
        masks = discs(10, 10, 13, 13, 8, 8)
        masks[5] = np.roll(masks[5], -25, axis=0)
        health = assess_masks(masks, confirmed=[0])
        assert levels(health) == "ggdgbb"
        assert health[2].reasons[0] == "the object suddenly grew"
        assert health[4].reasons[0] == "the object suddenly shrank"
        assert health[5].reasons == ("the object jumped",)
        assert health[2].area_change == pytest.approx(masks[2].sum() / masks[1].sum())

    def test_another_outline_of_the_same_size_and_pieces_are_said(self) -> None:
        masks = discs(14, 14, 14, step=0)
        masks[1] = cv2.resize(masks[0].astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) > 0
        masks[2, 38:42] = False
        masks[2, 70:76, :40] = True
        health = assess_masks(masks, confirmed=[0])
        assert health[1].level is Level.GOOD
        assert "the object fell into pieces" in health[2].reasons
        bar = np.zeros((1, SIDE, SIDE), bool)
        bar[0, 36:44, 4:77] = True
        (_, changed) = assess_masks(np.concatenate([masks[:1], bar]), confirmed=[0])
        assert "the outline changed a lot" in changed.reasons

    def test_a_loss_is_bad_then_doubtful_until_the_object_is_found_again(self) -> None:
        health = assess_masks(discs(10, 10, 0, 0, 10, 10), confirmed=[0])
        assert levels(health) == "ggbddg"
        assert health[2].reasons == ("lost here",)
        assert health[3].reasons == ("the object is not found here",)
        assert "found again" in health[4].reasons[0]

    def test_leaving_over_the_rim_is_less_bad_than_a_loss(self) -> None:
        health = assess_masks(discs(10, 10, 0, x=62, step=9), confirmed=[0])
        assert health[2].level is Level.DOUBTFUL
        assert "left the picture" in health[2].reasons[0]

    def test_slow_shrinking_is_taken_for_hiding(self) -> None:
        masks = discs(*[14] * 9, step=0)
        for index in range(9):
            masks[index, :, : 26 + 2 * index] = False
        health = assess_masks(masks, confirmed=[0])
        assert "hidden" in " ".join(health[8].reasons)
        assert health[4].level is Level.GOOD

    def test_backwards_the_frame_away_from_the_confirmed_one_is_blamed(self) -> None:
        health = assess_masks(discs(10, 10, 16, 16), confirmed=[3])
        assert levels(health) == "gbgg"
        assert health[1].reasons[0] == "the object suddenly shrank"

    def test_confirmed_frames_and_confirmed_absence_are_good(self) -> None:
        assert levels(assess_masks(discs(10, 16, 10), confirmed=[0, 1, 2])) == "ggg"
        assert levels(assess_masks(discs(10, 10, 0, 0), confirmed=[0, 2])) == "gggg"

    def test_a_cut_is_no_jump_but_an_unselected_scene_is_doubtful(self) -> None:
        masks = discs(10, 10, 0, 0)
        health = assess_masks(masks, confirmed=[0], cuts=[2])
        assert levels(health) == "ggdd"
        assert "another scene" in health[2].reasons[0]
        assert levels(assess_masks(discs(10, 10, 20, 20), confirmed=[0, 2], cuts=[2])) == "gggg"

    def test_the_whole_frame_and_low_scores_are_said(self) -> None:
        assert levels(assess_masks(np.ones((1, 9, 9), bool))) == "b"
        health = assess_masks(discs(9, 9, 9, 9), confirmed=[0], scores=[0.1, None, 0.4, 0.1])
        assert levels(health) == "ggdb"
        assert health[3].score == 0.1
        assert health[3].reasons == ("the model is unsure here",)
        with pytest.raises(FramesError, match="1 scores for 2 masks"):
            assess_masks(discs(9, 9), scores=[1.0])

    def test_without_any_frame_there_is_nothing_to_say(self) -> None:
        assert assess_masks([]) == ()
        assert levels(assess_masks(discs(0))) == "d"


def test_the_next_doubtful_frame_goes_round_and_skips_repetition() -> None:
    health = assess_masks(discs(10, 0, 0, 0, 10, 16, 16), confirmed=[0])
    assert levels(health) == "gbdddbg"
    assert [next_doubtful(health, after=index) for index in (0, 1, 2, 3, 4, 5, 6)] == [1, 2, 4, 4, 5, 1, 1]
    assert next_doubtful(health[:1], after=0) is None


def test_a_mask_that_drifts_off_its_object_resembles_it_less_and_less() -> None:
    frames, masks = disc_clip(6, step=0)
    drifting = np.stack([np.roll(mask, 6 * index, axis=1) for index, mask in enumerate(masks)])
    likes = measure_resemblances(frames, masks=drifting, confirmed=[0])
    assert likes[0] == pytest.approx(1)
    assert all(later < earlier for earlier, later in pairwise(likes))  # type: ignore[operator]
    health = assess_masks(drifting, confirmed=[0], resemblances=likes)
    assert health[5].level is Level.BAD
    assert health[5].reasons == ("it no longer looks like what was selected",)
    assert health[5].resemblance == likes[5]
    assert [each.level for each in assess_masks(drifting, confirmed=[0])] == [Level.GOOD] * 6


def test_the_nearest_confirmed_frame_of_the_scene_counts() -> None:
    frames, masks = disc_clip(4)
    dark = frames.copy()
    dark[2:] = dark[2:] // 4
    assert measure_resemblances(dark, masks=masks, confirmed=[0])[3] < 0.3  # type: ignore[operator]
    assert measure_resemblances(dark, masks=masks, confirmed=[0, 2])[3] > 0.8  # type: ignore[operator]
    assert measure_resemblances(dark, masks=masks, confirmed=[0], cuts=[2])[2:] == (None, None)


def test_nothing_is_compared_where_there_is_nothing() -> None:
    frames, masks = disc_clip(3)
    masks[1] = False
    assert measure_resemblances(frames, masks=masks, confirmed=[])[0] is None
    assert measure_resemblances(frames, masks=masks, confirmed=[0])[1] is None
    assert measure_resemblances(frames, masks=masks, confirmed=[1])[0] is None
    with pytest.raises(FramesError, match="2 resemblances"):
        assess_masks(masks, resemblances=[None, None])


def test_a_well_followed_object_is_good() -> None:
    frames, masks = disc_clip(5)
    tracks = Tracks(load_segmenter().open(frames), frames)
    project = tracks.new_project().add_object().with_prompt(1, Prompt.of_mask(2, masks[2]))
    list(tracks.update(project))
    after = review_object(tracks, project=project, number=1)
    assert [each.level for each in after] == [Level.GOOD] * 5
    assert min(each.resemblance or 0 for each in after) > 0.7
    with pytest.raises(SelectionError, match="no object 2"):
        review_object(tracks, project=project, number=2)
