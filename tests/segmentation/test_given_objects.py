"""Masks made elsewhere: every frame counts as it is, and corrections go on from there."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation import (
    Click,
    FramesError,
    History,
    Project,
    Prompt,
    Selection,
    Tracks,
    add_given_objects,
    begin_prompt,
    load_segmenter,
)
from tests.segmentation.test_embedded import CENTRE, SIZE, disc_clip

NUM_FRAMES = 4


@pytest.fixture
def tracks() -> Tracks:
    frames, _ = disc_clip(NUM_FRAMES)
    return Tracks(load_segmenter().open(frames), frames)


def two_objects() -> dict[int, NDArray[np.bool_]]:
    """Object 3 on every frame, object 7 missing on the first; they overlap by two rows."""
    masks = {number: np.zeros((NUM_FRAMES, SIZE, SIZE), np.bool_) for number in (3, 7)}
    masks[3][:, 5:15, 5:25] = True
    masks[7][1:, 13:40, 20:30] = True
    return masks


def kept(tracks: Tracks, project: Project, number: int) -> NDArray[np.bool_]:
    return np.stack([tracks.mask(project, number=number, frame_index=index) for index in range(NUM_FRAMES)])


def test_every_frame_counts_as_it_is_and_nothing_is_followed(tracks: Tracks) -> None:
    project = add_given_objects(tracks.new_project(), masks=two_objects()).project

    list(tracks.update(project))
    for number, mask in two_objects().items():
        assert np.array_equal(kept(tracks, project, number), mask)
    assert tracks.num_missing(project) == 0


def test_objects_keep_numbers_and_names_and_untouched_ones_make_way(tracks: Tracks) -> None:
    start = tracks.new_project().add_object("nothing said yet")

    added = add_given_objects(start, masks=two_objects(), names={7: "the dog"})

    assert [(each.number, each.name) for each in added.project.objects] == [(3, "Object 3"), (7, "the dog")]
    assert added.numbers == {3: 3, 7: 7}


def test_a_number_that_is_taken_is_not_given_twice(tracks: Tracks) -> None:
    start = tracks.new_project().add_object("the disc", number=3).with_prompt(3, Prompt(CENTRE))

    added = add_given_objects(start, masks=two_objects())

    assert added.numbers == {3: 1, 7: 7}
    assert [each.number for each in added.project.objects] == [3, 1, 7]
    assert added.project.object(3) == start.object(3)


def test_a_correction_changes_its_own_frame_alone(tracks: Tracks) -> None:
    project = add_given_objects(tracks.new_project(), masks=two_objects()).project
    prompt = begin_prompt(tracks, project=project, number=3, frame_index=2)

    corrected = project.with_prompt(3, prompt.with_click(Click(20.0, 10.0, is_positive=False)))

    list(tracks.update(corrected))
    changed = (kept(tracks, corrected, 3) != two_objects()[3]).any(axis=(1, 2))
    assert changed.tolist() == [False, False, True, False]


def test_one_step_back_takes_all_of_it_back(tracks: Tracks) -> None:
    history = History(tracks.new_project().add_object())

    imported = history.do(lambda project: add_given_objects(project, masks=two_objects()).project)

    assert imported.undo().present == history.present


def test_masks_of_another_clip_are_refused(tracks: Tracks) -> None:
    with pytest.raises(FramesError, match="pass masks of this clip"):
        add_given_objects(tracks.new_project(), masks={3: two_objects()[3][:3]})


def test_no_masks_add_no_object(tracks: Tracks) -> None:
    start = tracks.new_project().add_object().with_prompt(1, Prompt(Selection(0, (Click(3, 4),))))

    assert add_given_objects(start, masks={}).project == start
