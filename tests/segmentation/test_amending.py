"""One mask from two: blended between prompts, and amended by a correction as far as that hangs together."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation import Click, Project, Prompt, Selection, Tracks, begin_prompt
from segmentation.amending import Amendments, amend, blend_masks, linked_part
from segmentation.base import FrameMask
from tests.segmentation.clips import ScriptedSession

Y, X = np.mgrid[:64, :96]


EMPTY = np.zeros((64, 96), bool)


def disc(across: float, radius: float = 16) -> NDArray[np.bool_]:
    return np.hypot(X - across, Y - 32) < radius


def middle(mask: NDArray[np.bool_]) -> float:
    return float(X[mask].mean())


class TestBlending:
    def test_the_outline_moves_from_one_to_the_other(self) -> None:
        before, after = disc(40), disc(48)
        found = [blend_masks(before, after, share=share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
        assert np.array_equal(found[0], before)
        assert np.array_equal(found[-1], after)
        middles = [middle(mask) for mask in found]
        assert middles == sorted(middles)
        assert middles[2] == pytest.approx(44, abs=0.5)
        assert found[2].sum() == pytest.approx(before.sum(), rel=0.1)

    def test_of_two_that_show_different_things_the_nearer_one_stands(self) -> None:
        before, after = disc(24), disc(70)
        assert np.array_equal(blend_masks(before, after, share=0.4), before)
        assert np.array_equal(blend_masks(before, after, share=0.6), after)

    @pytest.mark.parametrize(("share", "is_seen"), [(0.1, False), (0.4, True), (0.9, True)])
    def test_an_object_that_one_side_lost_is_where_the_other_sees_it(
        self, share: float, is_seen: bool
    ) -> None:
        seen = disc(40)
        assert np.array_equal(blend_masks(EMPTY, seen, share=share), seen if is_seen else EMPTY)
        assert np.array_equal(blend_masks(seen, EMPTY, share=1 - share), seen if is_seen else EMPTY)

    def test_an_object_that_both_lost_is_lost(self) -> None:
        assert not blend_masks(EMPTY, EMPTY, share=0.5).any()


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


class DriftingSession(ScriptedSession):
    """Selects too much; what is followed from a corrected mask picks something else up on the way."""

    num_frames = NUM_FRAMES

    def mask_at(self, selection: Selection, *, prior: FrameMask | None = None) -> FrameMask:
        assert selection.clicks
        return BODY | SPILL if prior is None else prior & ~SPILL

    def followed(self, index: int, mask: FrameMask) -> FrameMask:  # noqa: ARG002 - the same on every frame
        return mask if (mask & SPILL).any() else mask | DRIFT


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
