"""Corrections and limits that every segmenter promises: a mask to start from, and frames to stay within."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from segmentation import Click, FramesError, SegmentationSession, Selection, SelectionError, load_segmenter
from segmentation.project import Prompt
from segmentation.sam import SamSegmenter
from segmentation.sam2 import Sam2Segmenter
from segmentation.tracks import Tracks
from tests.segmentation.clips import SIZE, disc_clip
from tests.segmentation.tiny_models import SPEC, random_model, tiny_sam, tiny_sam2_config


@pytest.fixture(scope="module")
def clip() -> tuple[Any, Any]:
    return disc_clip(6)


@pytest.fixture(params=["embedded", "sam", "sam2"], scope="module")
def session(request: pytest.FixtureRequest, clip: tuple[Any, Any]) -> SegmentationSession:
    if request.param == "embedded":
        return load_segmenter().open(clip[0])
    is_image_model = request.param == "sam"
    segmenter = (
        SamSegmenter(tiny_sam(), spec=SPEC)
        if is_image_model
        else Sam2Segmenter(random_model(tiny_sam2_config()), spec=SPEC)
    )
    return segmenter.open(clip[0])


@pytest.mark.parametrize(
    ("within", "expected"),
    [(range(1, 4), [2, 3, 1]), (range(2, 3), [2]), (range(0, 3), [2, 1, 0]), (None, [2, 3, 4, 5, 1, 0])],
)
def test_following_stays_within_its_frames(
    session: SegmentationSession, clip: tuple[Any, Any], within: range | None, expected: list[int]
) -> None:
    followed = list(session.follow(2, clip[1][2], within=within))
    assert [index for index, _ in followed] == expected
    assert np.array_equal(followed[0][1], clip[1][2])


@pytest.mark.parametrize("within", [range(3, 5), range(0, 7), range(-1, 4), range(0, 6, 2), range(2, 2)])
def test_impossible_ranges_are_refused_at_the_call(
    session: SegmentationSession, clip: tuple[Any, Any], within: range
) -> None:
    with pytest.raises(SelectionError, match="contains frame 2"):
        session.follow(2, clip[1][2], within=within)


def test_masks_and_frames_that_do_not_fit_are_refused_at_the_call(session: SegmentationSession) -> None:
    with pytest.raises(SelectionError, match="from 0 to 5"):
        session.follow(6, np.ones((SIZE, SIZE), bool))
    with pytest.raises(FramesError, match="same size"):
        session.follow(0, np.ones((SIZE, SIZE + 1), bool))


def test_negative_clicks_alone_are_enough_to_correct_a_mask(
    session: SegmentationSession, clip: tuple[Any, Any]
) -> None:
    beside = Selection(clicks=(Click(0.9 * SIZE, 0.1 * SIZE, is_positive=False),))
    with pytest.raises(SelectionError, match="nothing is selected"):
        session.mask_at(beside)
    assert session.mask_at(beside, prior=clip[1][0]).shape == (SIZE, SIZE)
    with pytest.raises(SelectionError, match="nothing is selected"):
        session.mask_at(Selection(), prior=clip[1][0])


def test_several_objects_are_corrected_on_any_frame_by_every_segmenter(
    session: SegmentationSession, clip: tuple[Any, Any]
) -> None:
    frames, masks = clip
    tracks = Tracks(session, frames)
    project = tracks.new_project().add_object().add_object()
    project = project.with_prompt(1, Prompt(Selection(5, (Click(0.4 * SIZE + 15, 0.5 * SIZE),))))
    project = project.with_prompt(2, Prompt.of_mask(0, masks[0]))
    first = [(found.number, found.frame_index) for found in tracks.update(project)]
    assert first == [(2, index) for index in range(6)] + [(1, index) for index in (5, 4, 3, 2, 1, 0)]
    beside = Click(0.9 * SIZE, 0.1 * SIZE, is_positive=False)
    known = tracks.mask(project, number=1, frame_index=3)
    project = project.with_prompt(1, Prompt.of_mask(3, known).with_click(beside))
    corrected = [(found.number, found.frame_index) for found in tracks.update(project)]
    assert corrected == [(1, index) for index in (3, 4, 2, 1, 0)]
    assert set(np.unique(tracks.labels(project, frame_index=4))) <= {0, 1, 2}
