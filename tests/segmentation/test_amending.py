"""A correction changes what hangs together with it; of the rest, what was seen before still counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation import Click, Project, Prompt, Selection, Tracks, begin_prompt
from segmentation.amending import Amendments, amend, linked_part
from segmentation.base import FrameMask
from segmentation.schedule import plan_object

SIDE, NUM_FRAMES = 48, 12
Mask = NDArray[np.bool_]


def block(top: int, left: int, height: int = 10, width: int = 10) -> Mask:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top : top + height, left : left + width] = True
    return mask


BODY, SPILL, DRIFT = block(18, 4, 14, 14), block(18, 18), block(2, 36, 8, 8)


class TestLinkedPart:
    def test_a_piece_that_has_moved_a_little_is_linked_and_one_elsewhere_is_not(self) -> None:
        found = linked_part(block(10, 12) | block(30, 30), neighbour=block(10, 10))
        assert np.array_equal(found, block(10, 12))

    def test_a_thin_line_links_nothing(self) -> None:
        line = block(14, 20, 1, 20)
        assert np.array_equal(
            linked_part(block(10, 10) | line | block(10, 38), neighbour=block(10, 10)) & block(8, 30, 14, 18),
            np.zeros((SIDE, SIDE), bool),
        )

    def test_nothing_hangs_together_with_nothing(self) -> None:
        assert not linked_part(block(10, 10), neighbour=np.zeros((SIDE, SIDE), bool)).any()


class TestAmend:
    def test_what_is_linked_changes_and_the_rest_stays_halfway(self) -> None:
        before, followed = BODY | SPILL, block(18, 4, 18, 14) | DRIFT
        found = amend(before, followed, SPILL)
        assert not (found & SPILL).any()
        assert not (found & DRIFT).any()
        assert BODY.sum() < found.sum() < (BODY | block(18, 4, 18, 14)).sum()


class TestAmendments:
    def test_the_change_is_linked_from_frame_to_frame_and_each_once(self) -> None:
        asked: list[int] = []

        def seen(index: int) -> tuple[FrameMask, FrameMask]:
            asked.append(index)
            spill = block(18, 18 + index)
            return BODY | spill, BODY

        amendments = Amendments()
        assert np.array_equal(amendments.amended("state", 8, corrected=[0], seen=seen), BODY)
        asked.clear()
        assert np.array_equal(amendments.amended("state", 7, corrected=[0], seen=seen), BODY)
        assert asked == [7]

    def test_a_frame_waits_for_those_between(self) -> None:
        amendments = Amendments()
        assert (
            amendments.amended("state", 3, corrected=[0], seen=lambda i: None if i == 2 else (BODY, BODY))
            is None
        )
        found = amendments.amended("state", 3, corrected=[0], seen=lambda _: (BODY, BODY))
        assert np.array_equal(found, BODY)

    def test_a_second_thread_that_looks_meanwhile_shifts_nothing(self) -> None:
        def seen(index: int) -> tuple[FrameMask, FrameMask]:
            return BODY, BODY | block(18, 18 + 2 * index)

        amendments, alone = Amendments(), Amendments()
        looked: list[FrameMask | None] = []

        def look() -> None:
            looked.append(amendments.amended("state", 8, corrected=[0], seen=seen))

        reader = threading.Thread(target=look)

        def seen_with_a_pause(index: int) -> tuple[FrameMask, FrameMask]:
            if index == 4:
                reader.start()
                # As long as the lock keeps it waiting; without one it is done long before.
                reader.join(timeout=0.3)
            return seen(index)

        amendments.amended("state", 6, corrected=[0], seen=seen_with_a_pause)
        reader.join()
        for index in range(1, NUM_FRAMES):
            found, expected = (
                each.amended("state", index, corrected=[0], seen=seen) for each in (amendments, alone)
            )
            assert np.array_equal(found, expected), index
        assert np.array_equal(looked[0], alone.amended("state", 8, corrected=[0], seen=seen))


class DriftingSession:
    """Selects too much; what is followed from a corrected mask picks something else up on the way."""

    def mask_at(self, selection: Selection, *, prior: FrameMask | None = None) -> FrameMask:
        assert selection.clicks
        return BODY | SPILL if prior is None else prior & ~SPILL

    def propagate(self, selection: Selection) -> Iterator[tuple[int, FrameMask]]:
        return self.follow(selection.frame_index, self.mask_at(selection))

    def follow(
        self, start: int, mask: FrameMask, *, within: range | None = None
    ) -> Iterator[tuple[int, FrameMask]]:
        within = range(NUM_FRAMES) if within is None else within
        yield start, mask
        is_corrected = not (mask & SPILL).any()
        for index in (*range(start + 1, within.stop), *range(start - 1, within.start - 1, -1)):
            yield index, mask | DRIFT if is_corrected else mask


@pytest.fixture
def tracks() -> Tracks:
    return Tracks(DriftingSession(), np.full((NUM_FRAMES, SIDE, SIDE, 3), 50, np.uint8))


def selected(tracks: Tracks) -> Project:
    prompt = Prompt(Selection(0, (Click(10, 25),)))
    return tracks.new_project().add_object().with_prompt(1, prompt)


def corrected(tracks: Tracks, project: Project, frame_index: int) -> Project:
    prompt = begin_prompt(tracks, project=project, number=1, frame_index=frame_index)
    return project.with_prompt(1, prompt.with_click(Click(23, 23, is_positive=False)))


class TestTracks:
    def test_a_correction_takes_away_what_was_clicked_but_brings_nothing_else_in(
        self, tracks: Tracks
    ) -> None:
        project = selected(tracks)
        list(tracks.update(project))
        project = corrected(tracks, project, 4)
        list(tracks.update(project))
        masks = [tracks.mask(project, number=1, frame_index=index) for index in range(NUM_FRAMES)]
        assert not any((mask & DRIFT).any() for mask in masks)
        assert all(np.array_equal(mask, BODY) for mask in masks[3:])
        assert np.array_equal(tracks.mask(project, number=1, frame_index=0), BODY | SPILL)

    def test_every_frame_comes_once_with_the_mask_that_stays(self, tracks: Tracks) -> None:
        project = selected(tracks)
        list(tracks.update(project))
        project = corrected(tracks, corrected(tracks, project, 3), 8)
        found = {}
        for each in tracks.update(project):
            assert each.frame_index not in found
            found[each.frame_index] = each.mask
        assert sorted(found) == list(range(1, NUM_FRAMES))
        for index, mask in found.items():
            assert np.array_equal(mask, tracks.mask(project, number=1, frame_index=index)), index

    def test_all_at_once_and_one_after_the_other_come_to_the_same(self, tracks: Tracks) -> None:
        project = selected(tracks)
        list(tracks.update(project))
        project = corrected(tracks, project, 4)
        list(tracks.update(project))
        again = Tracks(DriftingSession(), tracks.frames)
        list(again.update(project))
        for index in range(NUM_FRAMES):
            masks = [each.mask(project, number=1, frame_index=index) for each in (tracks, again)]
            assert np.array_equal(*masks), index

    def test_undo_of_a_correction_costs_nothing(self, tracks: Tracks) -> None:
        before = selected(tracks)
        list(tracks.update(before))
        after = corrected(tracks, before, 4)
        list(tracks.update(after))
        assert tracks.num_missing(before) == tracks.num_missing(after) == 0
        assert np.array_equal(tracks.mask(before, number=1, frame_index=9), BODY | SPILL)


class TestPlan:
    def test_a_selection_is_followed_past_a_correction_but_not_past_a_selection(self) -> None:
        first, third = (Prompt(Selection(index, (Click(10, 25),))) for index in (0, 9))
        second = Prompt.of_mask(4, BODY).with_click(Click(23, 23, is_positive=False))
        plan = plan_object((first, third, second), num_frames=NUM_FRAMES)
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
        plan = plan_object((second, first.with_click(Click(12, 25))), num_frames=NUM_FRAMES)
        reach = {span.prompt.frame_index: (span.within.start, span.within.stop) for span in plan.walked}
        assert reach == {0: (0, 4), 4: (1, 12)}
        assert [plan.corrected(index) for index in (2, 6)] == [(4,), ()]

    def test_without_a_selection_corrections_stand_alone(self) -> None:
        alone = Prompt.of_mask(4, BODY).with_click(Click(23, 23, is_positive=False))
        plan = plan_object((alone,), num_frames=NUM_FRAMES)
        assert plan.corrected(6) == ()
        assert plan.walked == plan.spans
