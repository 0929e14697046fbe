"""Corrections on any frame: only the affected frames are made again, and nothing that is known is lost."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation import Click, FramesError, Selection, SelectionError, load_segmenter
from segmentation.base import FrameMask
from segmentation.project import Project, Prompt
from segmentation.schedule import Span
from segmentation.tracks import MOST_WALKS, TrackedMask, Tracks, Walks, begin_prompt
from tests.segmentation.clips import SIZE, ScriptedSession, disc_clip, overlap
from training.world.render import render
from training.world.scene import Shot, sample_scene

NUM_FRAMES, SIDE = 20, 16


def click(frame: int, x: float = 3) -> Prompt:
    return Prompt(Selection(frame, (Click(x, 4),)))


def absent(frame: int) -> Prompt:
    return Prompt.of_mask(frame, np.zeros((SIDE, SIDE), bool))


class CountingSession(ScriptedSession):
    """A session whose object is a square at the click's column; it keeps what it was asked to follow."""

    num_frames = NUM_FRAMES

    def __init__(self, lost: frozenset[int] = frozenset()) -> None:
        self.made: list[int] = []
        self.clicked: list[int] = []
        self._lost = lost

    def mask_at(self, selection: Selection, *, prior: FrameMask | None = None) -> FrameMask:
        self.clicked.append(selection.frame_index)
        mask = np.zeros((SIDE, SIDE), bool) if prior is None else prior.copy()
        for each in selection.clicks:
            mask[:4, int(each.x) : int(each.x) + 4] = each.is_positive
        return mask

    def followed(self, index: int, mask: FrameMask) -> FrameMask:
        self.made.append(index)
        return np.zeros_like(mask) if index in self._lost else mask


@pytest.fixture
def session() -> CountingSession:
    return CountingSession()


@pytest.fixture
def tracks(session: CountingSession) -> Tracks:
    return Tracks(session, np.full((NUM_FRAMES, SIDE, SIDE, 3), 50, np.uint8))


def order(updates: Iterator[TrackedMask]) -> list[int]:
    return [update.frame_index for update in updates]


def column(tracks: Tracks, project: Project, frame: int, number: int = 1) -> int | None:
    columns = np.flatnonzero(tracks.mask(project, number=number, frame_index=frame).any(axis=0))
    return int(columns[0]) if len(columns) else None


class TestTracks:
    def test_masks_come_from_the_prompt_outwards_and_only_once(
        self, tracks: Tracks, session: CountingSession
    ) -> None:
        project = tracks.new_project().add_object().with_prompt(1, click(17))
        assert tracks.num_missing(project) == 20
        assert order(tracks.update(project)) == [17, 18, 19, *range(16, -1, -1)]
        assert tracks.num_missing(project) == 0
        assert order(tracks.update(project)) == []
        assert len(session.made) == 19

    def test_a_correction_makes_only_the_frames_between_the_confirmed_ones(
        self, tracks: Tracks, session: CountingSession
    ) -> None:
        project = tracks.new_project().add_object().with_prompt(1, click(0))
        list(tracks.update(project))
        project = project.with_prompt(1, click(15, x=6))
        list(tracks.update(project))
        session.made.clear()
        project = project.with_prompt(1, click(10, x=9))
        assert tracks.missing_frames(project, number=1) == tuple(range(1, 15))
        assert order(tracks.update(project)) == [10, 11, 12, 13, 14, 9, 8, 7, 6, 5, 4, 3, 2, 1]
        assert sorted(session.made) == [*range(1, 10), *range(11, 15)]
        columns = [column(tracks, project, index) for index in (0, 4, 6, 12, 13, 15, 19)]
        assert columns == [3, 3, 9, 9, 6, 6, 6]

    def test_prompts_given_at_once_are_followed_to_each_other(
        self, tracks: Tracks, session: CountingSession
    ) -> None:
        project = tracks.new_project().add_object().with_prompt(1, click(0)).with_prompt(1, click(8, x=5))
        assert tracks.num_missing(project) == 20
        updates = order(tracks.update(project))
        assert updates == [8, *range(9, 20), *range(8)]
        assert sorted(session.made) == sorted([*range(1, 8), *range(1, 8), *range(9, 20)])
        assert tracks.num_missing(project) == 0
        assert [column(tracks, project, index) for index in (1, 3, 5, 7)] == [3, 3, 5, 5]

    def test_undo_costs_nothing(self, tracks: Tracks, session: CountingSession) -> None:
        before = tracks.new_project().add_object().with_prompt(1, click(0))
        list(tracks.update(before))
        after = before.with_prompt(1, click(10, x=9))
        list(tracks.update(after))
        session.made.clear()
        assert column(tracks, before, 10) == 3
        assert column(tracks, after, 10) == 9
        assert order(tracks.update(before)) + order(tracks.update(after)) == session.made == []

    def test_cancelling_keeps_what_is_done_and_shows_the_earlier_masks_elsewhere(
        self, tracks: Tracks, session: CountingSession
    ) -> None:
        project = tracks.new_project().add_object().with_prompt(1, click(0))
        list(tracks.update(project))
        project = project.with_prompt(1, click(5, x=9))
        walk = tracks.update(project)
        assert [next(walk).frame_index for _ in range(3)] == [5, 6, 7]
        walk.close()  # type: ignore[attr-defined]
        assert [column(tracks, project, index) for index in (4, 5, 7, 8)] == [3, 9, 9, 3]
        session.made.clear()
        assert order(tracks.update(project))[0] == 8
        assert 6 not in session.made

    def test_one_more_click_shows_the_earlier_masks_until_it_is_followed(self, tracks: Tracks) -> None:
        project = tracks.new_project().add_object().with_prompt(1, click(0))
        list(tracks.update(project))
        more = project.with_prompt(1, click(0).with_click(Click(9, 4)))
        assert column(tracks, more, 12) == 3
        assert tracks.num_missing(more) == 20
        assert column(tracks, project.with_prompt(1, click(0, x=9)), 12) is None

    def test_following_goes_on_from_where_the_object_was_last_seen(self) -> None:
        session = CountingSession(lost=frozenset({4, 5}))
        tracks = Tracks(session, np.full((NUM_FRAMES, SIDE, SIDE, 3), 50, np.uint8))
        project = tracks.new_project().add_object().with_prompt(1, click(0))
        walk = tracks.update(project)
        for _ in range(6):
            next(walk)
        walk.close()  # type: ignore[attr-defined]
        session.made.clear()
        assert order(tracks.update(project)) == list(range(6, 20))
        assert session.made[0] == 4
        assert column(tracks, project, 6) == 3

    def test_absence_is_kept_without_following(self, tracks: Tracks, session: CountingSession) -> None:
        project = tracks.new_project().add_object().with_prompt(1, click(0))
        list(tracks.update(project))
        session.made.clear()
        project = project.with_prompt(1, absent(8))
        assert order(tracks.update(project)) == [8]
        assert session.made == []
        assert [column(tracks, project, index) for index in (7, 8, 9)] == [3, None, 3]

    def test_a_given_mask_counts_at_once_on_its_own_frame(self, tracks: Tracks) -> None:
        project = tracks.new_project().add_object().with_prompt(1, click(0))
        list(tracks.update(project))
        assert column(tracks, project.with_prompt(1, absent(8)), 8) is None

    def test_absence_is_streamed_once_even_where_following_passes_through(self, tracks: Tracks) -> None:
        project = tracks.new_project().add_object().with_prompt(1, click(6)).with_prompt(1, absent(8))
        assert tracks.num_missing(project) == 20
        updates = {update.frame_index: update.mask.any() for update in tracks.update(project)}
        assert len(updates) == 20
        assert not updates[8]
        assert updates[9]

    def test_the_object_changed_last_is_followed_first_and_lies_on_top(self, tracks: Tracks) -> None:
        project = tracks.new_project().add_object().add_object()
        project = project.with_prompt(2, click(0, x=5)).with_prompt(1, click(0, x=3))
        assert [each.number for each in tracks.update(project)] == [1] * 20 + [2] * 20
        assert tracks.labels(project, frame_index=9)[0, 2:10].tolist() == [0, 1, 1, 1, 1, 2, 2, 0]
        project = project.with_prompt(2, click(0, x=6))
        list(tracks.update(project))
        assert tracks.labels(project, frame_index=9)[0, 2:10].tolist() == [0, 1, 1, 1, 2, 2, 2, 2]

    def test_a_preview_is_made_once_and_used_by_the_update(
        self, tracks: Tracks, session: CountingSession
    ) -> None:
        prompt = click(4)
        assert tracks.preview(prompt).sum() == 16
        tracks.preview(prompt)
        list(tracks.update(tracks.new_project().add_object().with_prompt(1, prompt)))
        assert session.clicked == [4]

    def test_only_so_many_prompts_are_kept(self, tracks: Tracks) -> None:
        project = tracks.new_project().add_object().with_prompt(1, click(0))
        list(tracks.update(project))
        for x in range(MOST_WALKS + 5):
            tracks.preview(click(1, x=x / 10))
        list(tracks.update(project))
        assert len(tracks._walks) == MOST_WALKS
        assert tracks.num_missing(project) == 0

    def test_a_project_of_another_clip_is_refused_at_the_call(self, tracks: Tracks) -> None:
        with pytest.raises(FramesError, match="new_project"):
            tracks.update(Project(num_frames=3, height=SIDE, width=SIDE))


class TestWalksOfSeveralThreads:
    """What another thread does in the midst of a call is done here from inside of it."""

    def test_a_walk_begun_meanwhile_by_another_thread_stays(self) -> None:
        span = Span(click(0), range(NUM_FRAMES))

        class SlowSession(CountingSession):
            def mask_at(self, selection: Selection, *, prior: FrameMask | None = None) -> FrameMask:
                if not self.clicked:
                    self.clicked.append(-1)
                    list(walks.go(span))
                return super().mask_at(selection, prior=prior)

        walks = Walks(SlowSession())
        walks.preview(span.prompt)
        assert all(walks.have([span], index) for index in range(NUM_FRAMES))

    def test_a_preview_while_the_oldest_are_let_go_does_no_harm(self, session: CountingSession) -> None:
        walks = Walks(session)

        class BusySet(set[Prompt]):
            def __contains__(self, prompt: object) -> bool:
                walks.preview(click(7))
                return super().__contains__(prompt)

        for index in range(3):
            walks.preview(click(index))
        walks.forget_unused(BusySet())
        assert len(walks) == 4


@pytest.fixture(scope="module")
def two_scenes() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    frames, masks = disc_clip(4)
    other = render(sample_scene(2_000_000_003), shot=Shot(num_frames=3, resolution=SIZE))
    return np.concatenate([frames, other.frames.numpy()]), np.concatenate([masks, other.mask.numpy()])


def test_nothing_is_followed_over_a_cut(two_scenes: tuple[NDArray[np.uint8], NDArray[np.bool_]]) -> None:
    frames, masks = two_scenes
    tracks = Tracks(load_segmenter().open(frames), frames)
    project = tracks.new_project().add_object("the disc").with_prompt(1, Prompt.of_mask(1, masks[1]))
    assert tracks.cuts == (4,)
    assert order(tracks.update(project)) == [1, 2, 3, 0]
    assert not tracks.mask(project, number=1, frame_index=4).any()
    (scene,) = tracks.unreached_scenes(project)
    assert (scene.number, scene.within) == (1, range(4, 7))
    assert scene.message == "Frames 5 to 7 show another scene; if the disc is in it, click it there once."
    project = project.with_prompt(1, Prompt.of_mask(5, masks[5]))
    assert order(tracks.update(project)) == [5, 6, 4]
    assert tracks.unreached_scenes(project) == ()
    for index in range(7):
        assert overlap(tracks.mask(project, number=1, frame_index=index), masks[index]) > 0.7


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
