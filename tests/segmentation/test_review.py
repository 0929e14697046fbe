"""Resemblance to what was selected, and the review of an object of a project."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from segmentation import Click, FramesError, Selection, SelectionError, load_segmenter
from segmentation.health import Level, assess_masks, measure_resemblances, review_object
from segmentation.project import Prompt
from segmentation.tracks import Tracks, begin_prompt
from tests.segmentation.test_embedded import SIZE, disc_clip, overlap


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


def test_a_click_corrects_the_mask_that_is_seen_and_otherwise_starts_anew() -> None:
    frames, masks = disc_clip(5)
    tracks = Tracks(load_segmenter().open(frames), frames)
    project = tracks.new_project().add_object()
    assert begin_prompt(tracks, project=project, number=1, frame_index=2) == Prompt(Selection(2))
    spilt = masks[0].copy()
    spilt[4:20, 74:90] = True
    project = project.with_prompt(1, Prompt.of_mask(0, spilt))
    list(tracks.update(project))
    seen = tracks.mask(project, number=1, frame_index=3)
    prompt = begin_prompt(tracks, project=project, number=1, frame_index=3)
    assert prompt == Prompt.of_mask(3, seen)
    prompt = prompt.with_click(Click(82, 12, is_positive=False))
    project = project.with_prompt(1, prompt)
    list(tracks.update(project))
    assert begin_prompt(tracks, project=project, number=1, frame_index=3) == prompt
    corrected = tracks.mask(project, number=1, frame_index=4)
    assert overlap(corrected, masks[4]) > 0.85
    absent = project.with_prompt(1, Prompt.of_mask(3, np.zeros((SIZE, SIZE), bool)))
    assert begin_prompt(tracks, project=absent, number=1, frame_index=3) == Prompt(Selection(3))


def test_a_frame_beyond_the_clip_is_refused() -> None:
    frames, _ = disc_clip(2)
    tracks = Tracks(load_segmenter().open(frames), frames)
    project = tracks.new_project().add_object()
    for index in (2, -1):
        with pytest.raises(SelectionError, match="from 0 to 1"):
            begin_prompt(tracks, project=project, number=1, frame_index=index)
        with pytest.raises(SelectionError, match="from 0 to 1"):
            tracks.labels(project, frame_index=index)
