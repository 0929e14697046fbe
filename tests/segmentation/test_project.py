"""Prompts, objects and their history: values that change only into other values."""

from __future__ import annotations

import numpy as np
import pytest

from segmentation import Box, Click, FramesError, Selection, SelectionError, Tracks, load_segmenter
from segmentation.project import COLOURS, MOST_OBJECTS, History, PackedMask, Project, Prompt
from tests.segmentation.test_embedded import CENTRE, SIZE, disc_clip, overlap

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
