"""Prompts, objects and their history, masks made elsewhere, and the record of a selection."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation import (
    Box,
    Click,
    FramesError,
    History,
    Project,
    Prompt,
    Selection,
    SelectionError,
    Tracks,
    add_given_objects,
    begin_prompt,
    describe_project,
    load_segmenter,
)
from segmentation.project import COLOURS, MOST_OBJECTS, PackedMask
from tests.segmentation.clips import CENTRE, SIZE, disc_clip, overlap

EMPTY = Project(num_frames=10, height=8, width=12)


def click(frame: int, x: float = 3, *, is_positive: bool = True) -> Prompt:
    return Prompt(Selection(frame, (Click(x, 4, is_positive),)))


class TestPrompt:
    @pytest.mark.parametrize("shape", [(1, 1), (8, 12), (7, 13)])
    def test_a_packed_mask_is_bit_for_bit_the_same(self, shape: tuple[int, int]) -> None:
        mask = np.random.default_rng(0).random(shape) > 0.5
        packed = PackedMask.of(mask)
        assert np.array_equal(packed.unpacked(), mask)
        assert packed == PackedMask.of(mask.copy())
        assert packed != PackedMask.of(~mask)

    def test_a_given_mask_counts_as_it_is_until_clicks_correct_it(self) -> None:
        frames, masks = disc_clip(1)
        tracks, prompt = Tracks(load_segmenter().open(frames), frames), Prompt.of_mask(0, masks[0])
        assert np.array_equal(tracks.preview(prompt), masks[0])
        corrected = tracks.preview(prompt.with_click(Click(0.4 * SIZE, 0.5 * SIZE, is_positive=False)))
        assert not corrected[int(0.5 * SIZE), int(0.4 * SIZE)]
        assert overlap(tracks.preview(Prompt(CENTRE)), masks[0]) > 0.9

    def test_a_box_starts_anew_and_undo_goes_back_to_nothing(self) -> None:
        given = Prompt.of_mask(2, np.ones((8, 12), bool))
        boxed = given.with_click(Click(1, 1)).with_box(Box(0, 0, 3, 3))
        assert boxed == Prompt(Selection(2, (), Box(0, 0, 3, 3)))
        assert given.with_click(Click(1, 1)).undo() == given
        assert given.undo().is_empty
        assert boxed.undo().is_empty

    def test_only_an_empty_mask_without_clicks_says_that_the_object_is_absent(self) -> None:
        nothing = Prompt.of_mask(2, np.zeros((8, 12), bool))
        assert nothing.says_absent
        assert not nothing.with_click(Click(1, 1)).says_absent
        assert not click(2).says_absent

    def test_saying_nothing_gives_no_mask(self) -> None:
        frames, _ = disc_clip(1)
        with pytest.raises(SelectionError, match="nothing is selected"):
            Tracks(load_segmenter().open(frames), frames).preview(Prompt(Selection()))


class TestProject:
    def test_objects_get_numbers_names_and_colours_that_do_not_come_again(self) -> None:
        project = EMPTY.add_object().add_object(" the car ", colour=(1, 2, 3)).remove_object(1).add_object()
        assert [(each.number, each.name) for each in project.objects] == [(2, "the car"), (3, "Object 3")]
        assert [each.colour for each in project.objects] == [(1, 2, 3), COLOURS[2]]

    def test_a_number_can_be_asked_for_if_no_object_has_had_it(self) -> None:
        project = EMPTY.add_object(number=MOST_OBJECTS).add_object()
        assert [each.number for each in project.objects] == [MOST_OBJECTS, 1]
        for number in (1, MOST_OBJECTS, 0, MOST_OBJECTS + 1):
            with pytest.raises(SelectionError, match="no object has had"):
                project.remove_object(1).add_object(number=number)
        assert EMPTY.objects == ()

    def test_an_object_is_renamed_and_recoloured(self) -> None:
        project = EMPTY.add_object("cat")
        assert project.restyled(1, name="dog").object(1).name == "dog"
        assert project.restyled(1, name="  ").object(1).name == "cat"
        assert project.restyled(1, colour=(9, 9, 9)).object(1).colour == (9, 9, 9)

    @pytest.mark.parametrize("colour", [(1, 2), (1, 2, 256), (-1, 0, 0), (0.5, 0, 0)])
    def test_what_is_no_colour_is_refused(self, colour: tuple[int, int, int]) -> None:
        with pytest.raises(SelectionError, match="red, green and blue"):
            EMPTY.add_object(colour=colour)

    def test_there_are_only_so_many_objects(self) -> None:
        project = EMPTY
        for _ in range(MOST_OBJECTS):
            project = project.add_object()
        with pytest.raises(SelectionError, match="255 objects"):
            project.add_object()

    def test_the_latest_prompt_on_a_frame_replaces_the_earlier_one(self) -> None:
        project = EMPTY.add_object()
        for prompt in (click(3), click(7), click(3, x=5)):
            project = project.with_prompt(1, prompt)
        tracked = project.object(1)
        assert tracked.prompts == (click(7), click(3, x=5))
        assert tracked.confirmed_frames == (3, 7)
        assert tracked.prompt_on(3) == click(3, x=5)
        assert project.without_prompt(1, 3).object(1).prompt_on(3) is None
        assert project.with_prompt(1, Prompt(Selection(7))).object(1).confirmed_frames == (3,)

    def test_the_object_prompted_last_has_the_highest_number_of_changes(self) -> None:
        project = EMPTY.add_object().add_object().with_prompt(2, click(0)).with_prompt(1, click(0))
        assert project.object(1).last_change > project.object(2).last_change

    @pytest.mark.parametrize(
        ("prompt", "message"),
        [
            (click(10), "choose a frame from 0 to 9"),
            (click(0, x=12), "outside the 12x8 frame"),
            (click(0, is_positive=False), "nothing is selected"),
            (Prompt(Selection(0, (), Box(20, 0, 22, 2))), "outside the 12x8 frame"),
            (Prompt.of_mask(10, np.ones((8, 12), bool)), "choose a frame from 0 to 9"),
        ],
    )
    def test_prompts_that_do_not_fit_are_refused(self, prompt: Prompt, message: str) -> None:
        with pytest.raises(SelectionError, match=message):
            EMPTY.add_object().with_prompt(1, prompt)

    def test_a_mask_of_another_size_is_refused_and_negative_clicks_may_correct_one(self) -> None:
        project = EMPTY.add_object()
        with pytest.raises(FramesError, match="same size"):
            project.with_prompt(1, Prompt.of_mask(0, np.ones((12, 8), bool)))
        prompt = Prompt.of_mask(0, np.ones((8, 12), bool)).with_click(Click(1, 1, is_positive=False))
        assert project.with_prompt(1, prompt).object(1).prompts == (prompt,)

    def test_unknown_objects_are_refused_with_the_known_ones(self) -> None:
        with pytest.raises(SelectionError, match="none yet"):
            EMPTY.object(1)
        with pytest.raises(SelectionError, match="the objects are: 1"):
            EMPTY.add_object().remove_object(2)


class TestHistory:
    def test_undo_and_redo_walk_through_all_changes(self) -> None:
        history = History(EMPTY).do(Project.add_object).do(lambda project: project.with_prompt(1, click(2)))
        done = history.present
        assert history.undo().present == EMPTY.add_object()
        assert history.undo().undo().present == EMPTY
        assert history.undo().undo().undo().present == EMPTY
        assert history.undo().undo().redo().redo().present == done
        assert history.redo() == history

    def test_a_new_change_forgets_what_was_taken_back(self) -> None:
        history = History(EMPTY).do(Project.add_object).undo().do(lambda project: project.add_object("cat"))
        assert history.redo().present.object(1).name == "cat"

    def test_clearing_can_be_taken_back_and_changing_nothing_leaves_no_step(self) -> None:
        history = History(EMPTY).do(Project.add_object).do(Project.cleared)
        assert history.present.objects == ()
        assert history.undo().present.objects != ()
        assert history.do(lambda project: project) is history


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


def test_objects_names_clicks_boxes_and_frames_are_recorded_in_order() -> None:
    project = Project(num_frames=5, height=8, width=12).add_object("the car").add_object()
    project = project.with_prompt(1, Prompt(Selection(3, (Click(2, 3, is_positive=True),))))
    project = project.with_prompt(1, Prompt(Selection(0, box=Box(1, 1, 6, 5))))

    record = describe_project(project)

    (car,) = record["objects"]
    assert (car["number"], car["name"]) == (1, "the car")
    assert [prompt["frame_index"] for prompt in car["prompts"]] == [0, 3]
    assert car["prompts"][0]["box"] == {"x0": 1, "y0": 1, "x1": 6, "y1": 5}
    assert car["prompts"][1]["clicks"] == [{"x": 2, "y": 3, "is_positive": True}]
    assert json.loads(json.dumps(record)) == record


def test_a_given_mask_is_named_by_area_and_hash() -> None:
    mask = np.zeros((8, 12), bool)
    mask[2:4, 3:9] = True
    project = Project(num_frames=1, height=8, width=12).add_object().with_prompt(1, Prompt.of_mask(0, mask))

    (prompt,) = describe_project(project)["objects"][0]["prompts"]

    assert prompt["mask"] == {"area": 12, "sha256": hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()}
