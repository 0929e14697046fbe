"""Which prompts answer for which frames."""

from __future__ import annotations

import numpy as np
import pytest

from segmentation import Click, Prompt, Selection
from segmentation.schedule import Span, plan_object, plan_spans, spans_at

NUM_FRAMES, SIDE = 20, 16
BODY = np.ones((SIDE, SIDE), bool)


def click(frame: int, x: float = 3) -> Prompt:
    return Prompt(Selection(frame, (Click(x, 4),)))


def absent(frame: int) -> Prompt:
    return Prompt.of_mask(frame, np.zeros((SIDE, SIDE), bool))


def reaches(prompts: list[Prompt], cuts: tuple[int, ...] = ()) -> dict[int, tuple[int, int]]:
    spans = plan_spans(tuple(prompts), num_frames=NUM_FRAMES, cuts=cuts)
    return {span.prompt.frame_index: (span.within.start, span.within.stop) for span in spans}


class TestSpans:
    def test_a_single_prompt_answers_for_the_whole_clip(self) -> None:
        assert reaches([click(7)]) == {7: (0, 20)}

    def test_every_prompt_answers_up_to_the_next_confirmed_frames(self) -> None:
        assert reaches([click(0), click(10)]) == {0: (0, 10), 10: (1, 20)}
        assert reaches([click(10), click(5), click(0)]) == {0: (0, 5), 5: (1, 10), 10: (6, 20)}

    def test_no_prompt_reaches_over_a_cut(self) -> None:
        assert reaches([click(3)], cuts=(5,)) == {3: (0, 5)}
        assert reaches([click(5)], cuts=(5, 9)) == {5: (5, 9)}
        assert reaches([click(3), click(12)], cuts=(5,)) == {3: (0, 5), 12: (5, 20)}

    def test_absence_counts_on_its_own_frame_only(self) -> None:
        prompts = (click(0), absent(8))
        assert reaches([*prompts]) == {0: (0, 20), 8: (8, 9)}
        spans = plan_spans(prompts, num_frames=NUM_FRAMES)
        counting = [spans_at(spans, index) for index in (7, 8, 9)]
        assert [[span.prompt.frame_index for span in each] for each in counting] == [[0], [8], [0]]
        assert spans_at(plan_spans((), num_frames=3), 0) == ()

    @pytest.mark.parametrize("seed", range(20))
    def test_the_nearest_prompts_of_the_scene_on_either_side_count(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        frames = [int(index) for index in rng.permutation(NUM_FRAMES)[: rng.integers(1, 8)]]
        cuts = tuple(sorted(int(c) for c in rng.choice(np.arange(1, NUM_FRAMES), 2, replace=False)))
        spans: tuple[Span, ...] = plan_spans(
            tuple(click(i) for i in frames), num_frames=NUM_FRAMES, cuts=cuts
        )
        for index in range(NUM_FRAMES):
            scene = [i for i in frames if sum(cut <= i for cut in cuts) == sum(cut <= index for cut in cuts)]
            nearest = {max((i for i in scene if i <= index), default=None)}
            nearest |= {min((i for i in scene if i >= index), default=None)}
            expected = [index] if index in scene else sorted(nearest - {None})  # type: ignore[type-var]
            assert [span.prompt.frame_index for span in spans_at(spans, index)] == expected


class TestPlan:
    def test_a_selection_is_followed_past_a_correction_but_not_past_a_selection(self) -> None:
        first, third = (Prompt(Selection(index, (Click(10, 25),))) for index in (0, 9))
        second = Prompt.of_mask(4, BODY).with_click(Click(23, 23, is_positive=False))
        plan = plan_object((first, third, second), num_frames=12)
        reach = {span.prompt.frame_index: (span.within.start, span.within.stop) for span in plan.walked}
        assert reach == {0: (0, 9), 4: (1, 9), 9: (1, 12)}
        assert [plan.corrected(index) for index in (0, 2, 4, 6, 9, 10)] == [(), (4,), (), (4,), (), ()]
        assert [[span.prompt.frame_index for span in plan.counting(i)] for i in (2, 4, 10)] == [
            [0, 9, 4],
            [4],
            [9],
        ]

    def test_a_selection_that_changes_is_followed_up_to_an_earlier_correction(self) -> None:
        first = Prompt(Selection(0, (Click(10, 25),)))
        second = Prompt.of_mask(4, BODY).with_click(Click(23, 23, is_positive=False))
        plan = plan_object((second, first.with_click(Click(12, 25))), num_frames=12)
        reach = {span.prompt.frame_index: (span.within.start, span.within.stop) for span in plan.walked}
        assert reach == {0: (0, 4), 4: (1, 12)}
        assert [plan.corrected(index) for index in (2, 6)] == [(4,), ()]

    def test_without_a_selection_corrections_stand_alone(self) -> None:
        alone = Prompt.of_mask(4, BODY).with_click(Click(23, 23, is_positive=False))
        plan = plan_object((alone,), num_frames=12)
        assert plan.corrected(6) == ()
        assert plan.walked == plan.spans
