"""J and F on cases worked out by hand, the simulated user, and the benchmark as a whole at a tiny size."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks import segmentation as command
from benchmarks.davis.cases import Case, click_inside, real_cases, world_cases
from benchmarks.davis.runs import (
    CONTENT,
    MOST_CORRECTIONS,
    Outcome,
    Start,
    correct_worst_frames,
    correcting_click,
    costed,
    run_case,
)
from benchmarks.davis.scores import boundary_measure, outline, score_clip
from benchmarks.segmentation import markdown_table, overlay_sheet
from dreammotion_core import Video, write_video
from dreammotion_core.errors import ConfigError
from dreammotion_core.evaluation.pixels import region_similarity
from segmentation import Click, Selection, load_segmenter
from segmentation.embedded.segmenter import EmbeddedSession

SIDE, FRAMES = 80, 6
"""On 80x80 pixels two outlines agree within one pixel: ceil(0.008 * 113.1)."""


def square(left: int, top: int, side: int, *, size: int = SIDE) -> NDArray[np.bool_]:
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


EMPTY = np.zeros((SIDE, SIDE), bool)
SQUARE = square(30, 30, 20)


def moving_disc() -> Case:
    """A spotted red disc that moves to the right on textured ground."""
    y, x = np.mgrid[:SIDE, :SIDE]
    texture = 20 * np.sin(x / 4) * np.cos(y / 5)
    ground = np.stack([60 + texture, 130 + texture, 70 + texture], axis=-1)
    frames, masks = [], []
    for index in range(FRAMES):
        across, down = x - (24 + 2 * index), y - 40
        inside = np.hypot(across, down) < 16
        shade = 1 - 0.01 * (across + down)
        spots = 25 * np.sin(across / 3) * np.sin(down / 3)
        disc = np.stack([180 * shade + spots, 40 * shade, 40 * shade], axis=-1)
        frames.append(np.where(inside[..., None], disc, ground))
        masks.append(inside)
    return Case("disc", np.clip(frames, 0, 255).astype(np.uint8), np.stack(masks), Click(24, 40))


class TestRegionSimilarity:
    def test_alike_is_one_and_apart_is_zero(self) -> None:
        assert region_similarity(SQUARE, truth=SQUARE) == 1
        assert region_similarity(SQUARE, truth=square(0, 0, 20)) == 0
        assert region_similarity(SQUARE, truth=EMPTY) == region_similarity(EMPTY, truth=SQUARE) == 0

    def test_two_empty_masks_are_alike(self) -> None:
        assert region_similarity(EMPTY, truth=EMPTY) == 1

    def test_a_shift_by_half_leaves_a_third(self) -> None:
        assert region_similarity(square(40, 30, 20), truth=SQUARE) == pytest.approx(1 / 3)


class TestBoundaryMeasure:
    def test_alike_is_one_and_apart_is_zero(self) -> None:
        assert boundary_measure(SQUARE, truth=SQUARE) == 1
        assert boundary_measure(SQUARE, truth=square(0, 0, 20)) == 0

    def test_an_outline_on_one_side_only_is_zero_and_on_none_is_one(self) -> None:
        assert boundary_measure(SQUARE, truth=EMPTY) == boundary_measure(EMPTY, truth=SQUARE) == 0
        assert boundary_measure(EMPTY, truth=EMPTY) == 1
        assert boundary_measure(~EMPTY, truth=EMPTY) == 1, "the rim of the frame is no outline"

    def test_the_outline_is_one_pixel_up_and_left_of_each_change(self) -> None:
        line = outline(square(2, 2, 2, size=6))
        expected = np.zeros((6, 6), bool)
        expected[1:4, 1:4] = True
        expected[2, 2] = False
        assert np.array_equal(line, expected)

    def test_an_outline_at_the_rim_of_the_frame_is_open(self) -> None:
        assert outline(square(4, 4, 2, size=6)).sum() == 5
        assert outline(square(0, 0, 2, size=6)).sum() == 3

    @pytest.mark.parametrize(("shift", "near"), [(1, 80), (2, 42), (3, 40), (20, 23), (21, 21), (22, 0)])
    def test_a_shifted_square(self, shift: int, near: int) -> None:
        # An outline is a ring of 21 x 21 pixels, 80 in all. Shifted by 2, 20 pixels of its upper side lie on
        # the other ring or beside it, 20 of its lower side, and two of its left side, next to the corners.
        other = square(30 + shift, 30, 20)
        assert boundary_measure(other, truth=SQUARE) == pytest.approx(near / 80)
        assert boundary_measure(SQUARE, truth=other) == pytest.approx(near / 80)

    def test_precision_and_recall_count_alike(self) -> None:
        # All of the single square is right; of the two squares' outlines half is found.
        both = SQUARE | square(2, 2, 20)
        assert boundary_measure(SQUARE, truth=both) == pytest.approx(2 * 0.5 / 1.5)
        assert boundary_measure(both, truth=SQUARE) == pytest.approx(2 * 0.5 / 1.5)

    def test_what_is_near_grows_with_the_frame(self) -> None:
        # On 480x854 pixels the two outlines may lie 8 pixels apart, but not 9.
        still, moved = (np.zeros((480, 854), bool) for _ in range(2))
        still[100:300, 100:300] = moved[108:308, 100:300] = True
        assert boundary_measure(moved, truth=still) == 1
        further = np.roll(moved, 1, axis=0)
        assert boundary_measure(further, truth=still) < 1


class TestScoreClip:
    def test_the_first_and_the_last_frame_do_not_count(self) -> None:
        masks = [EMPTY, SQUARE, square(40, 30, 20), EMPTY]
        score = score_clip(masks, truth=np.stack([SQUARE] * 4))
        assert score.region == pytest.approx((1 + 1 / 3) / 2)
        assert score.boundary == pytest.approx((1 + boundary_measure(masks[2], truth=SQUARE)) / 2)
        assert score.overall == pytest.approx((score.region + score.boundary) / 2)
        assert score.region_after_first == pytest.approx((1 + 1 / 3) / 3)
        assert score.worst_frame == 0

    @pytest.mark.parametrize(("found", "true"), [(2, 2), (3, 4), (4, 3)])
    def test_too_few_or_unequal_masks_are_refused(self, found: int, true: int) -> None:
        with pytest.raises(ValueError, match="at least 3"):
            score_clip([SQUARE] * found, truth=np.stack([SQUARE] * true))


class TestClicks:
    def test_a_click_goes_to_the_middle_of_the_largest_part(self) -> None:
        click = click_inside(SQUARE | square(0, 0, 10))
        assert 38 <= click.x <= 42
        assert 38 <= click.y <= 42

    def test_what_is_missing_gets_a_positive_click(self) -> None:
        click = correcting_click(SQUARE & ~square(30, 30, 10), truth=SQUARE)
        assert click.is_positive
        assert square(30, 30, 10)[int(click.y), int(click.x)]

    def test_what_is_too_much_gets_a_negative_click(self) -> None:
        extra = square(2, 2, 12)
        click = correcting_click((SQUARE | extra) & ~square(30, 30, 3), truth=SQUARE)
        assert not click.is_positive
        assert extra[int(click.y), int(click.x)]


class RecordingSession(EmbeddedSession):
    """The embedded session, which remembers what it was asked."""

    def __init__(self, frames: NDArray[np.uint8]) -> None:
        super().__init__(frames)
        self.asked: list[Selection] = []

    def mask_at(self, selection: Selection, *, prior: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        self.asked.append(selection)
        return super().mask_at(selection, prior=prior)


def overlaps(masks: list[NDArray[np.bool_]], case: Case) -> list[float]:
    return [region_similarity(mask, truth=true) for mask, true in zip(masks, case.masks, strict=True)]


@pytest.mark.filterwarnings("ignore::segmentation.SceneCutWarning")  # flat frames look like other scenes
class TestCorrections:
    def test_a_content_user_corrects_nothing(self) -> None:
        case = moving_disc()
        masks, corrections = correct_worst_frames(
            RecordingSession(case.frames), case.selection, frames=case.frames, truth=case.masks
        )
        assert corrections == 0
        assert min(overlaps(masks, case)) >= CONTENT

    def test_an_object_lost_at_a_cut_is_found_again_on_the_first_frame_without_it(self) -> None:
        before, after = moving_disc(), moving_disc()
        frames = np.concatenate([before.frames[:3], 255 - after.frames[3:, ::-1]])
        case = Case("cut", frames, np.concatenate([before.masks[:3], after.masks[3:, ::-1]]), before.click)
        session = RecordingSession(frames)
        without = dict(session.propagate(case.selection))
        masks, corrections = correct_worst_frames(
            session, case.selection, frames=case.frames, truth=case.masks
        )
        assert not without[3].any()
        assert 1 <= corrections <= MOST_CORRECTIONS
        assert session.asked[2].frame_index == 3
        assert min(overlaps(masks, case)) >= CONTENT

    def test_there_are_never_more_than_three(self) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8)
        case = Case("noise", noise, moving_disc().masks, Click(20, 40))
        session = RecordingSession(noise)
        masks, corrections = correct_worst_frames(
            session, case.selection, frames=case.frames, truth=case.masks
        )
        assert corrections == MOST_CORRECTIONS
        assert len(session.asked) == 1 + MOST_CORRECTIONS
        assert all(len(selection.clicks) <= 1 + MOST_CORRECTIONS for selection in session.asked)
        without = list(dict(session.propagate(case.selection)).values())
        assert max(overlaps(masks, case)) >= max(overlaps(without, case))

    def test_where_the_object_is_absent_the_frame_is_emptied_and_the_others_stay(self) -> None:
        case = moving_disc()
        truth = case.masks.copy()
        truth[4] = False
        masks, corrections = correct_worst_frames(
            RecordingSession(case.frames), case.selection, frames=case.frames, truth=truth
        )
        assert corrections == 1
        assert not masks[4].any()
        assert region_similarity(masks[5], truth=truth[5]) >= CONTENT


def clip_folder(folder: Path, *, click: object) -> Path:
    """A folder of clips with one real file in it."""
    case = moving_disc()
    place = folder / "disc"
    (place / "masks").mkdir(parents=True)
    write_video(Video(case.frames, 8.0), place / "clip.mp4")
    for index, mask in enumerate(case.masks):
        cv2.imwrite(str(place / "masks" / f"{index:05d}.png"), mask.astype(np.uint8) * 255)
    (place / "meta.json").write_text(json.dumps({"click": click}), "utf-8")
    return folder


class TestCases:
    def test_a_clip_is_read_with_its_masks_and_its_click(self, tmp_path: Path) -> None:
        (case,) = real_cases(clip_folder(tmp_path, click={"x": 20, "y": 40, "frame": 0}), max_frames=4)
        assert case.frames.shape == (4, SIDE, SIDE, 3)
        assert np.array_equal(case.masks, moving_disc().masks[:4])
        assert case.selection == Selection(0, (Click(20, 40),))

    @pytest.mark.parametrize(
        "click", [None, [1, 2], {"x": 1}, {"x": "left", "y": 2}, {"x": 1, "y": 1, "frame": 3}]
    )
    def test_a_clip_without_a_click_on_its_first_frame_is_refused(
        self, tmp_path: Path, click: object
    ) -> None:
        with pytest.raises(ConfigError, match=r"meta\.json"):
            list(real_cases(clip_folder(tmp_path, click=click)))

    def test_an_unknown_clip_is_refused_with_the_known_ones(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="named swan; there are: disc"):
            list(real_cases(clip_folder(tmp_path, click={"x": 20, "y": 40}), names=("swan",)))

    def test_a_missing_or_unreadable_mask_is_refused(self, tmp_path: Path) -> None:
        folder = clip_folder(tmp_path, click={"x": 20, "y": 40})
        (folder / "disc/masks/00005.png").unlink()
        with pytest.raises(ConfigError, match="one mask of its size for each frame"):
            list(real_cases(folder))
        (folder / "disc/masks/00005.png").write_text("no picture")
        with pytest.raises(ConfigError, match="no readable picture"):
            list(real_cases(folder))

    def test_the_world_has_clips_that_are_clicked_inside(self) -> None:
        for case in world_cases(2, num_frames=3, resolution=64):
            assert case.masks[0][int(case.click.y), int(case.click.x)]


class TestBenchmark:
    @pytest.mark.parametrize("start", Start)
    def test_a_clear_object_is_followed_from_every_start(self, start: Start) -> None:
        outcome = run_case(load_segmenter(), moving_disc(), start=start)
        assert outcome.score.overall > 0.9
        assert outcome.corrections == 0
        assert outcome.frame_seconds > 0
        assert (outcome.click_seconds is None) == (start is Start.MASK)

    def test_the_peak_of_a_block_counts_even_when_it_is_given_back(self) -> None:
        with costed() as cost:
            np.ones(64 << 20, np.uint8).sum()
        if cost.memory is None:
            pytest.skip("this system does not tell the peak of a block")
        with costed() as later:
            pass
        assert cost.memory > 60 << 20
        assert later.memory is not None
        assert later.memory < 30 << 20

    def test_the_table_gives_every_clip_and_the_mean_of_the_clips(self) -> None:
        case = moving_disc()
        outcomes = [
            outcome_of(case, name="good", masks=list(case.masks)),
            outcome_of(case, name="lost", masks=[EMPTY] * FRAMES),
        ]
        lines = markdown_table(outcomes).splitlines()
        assert lines[0] == "| Clip | Frames | true first mask |"
        assert lines[2:5] == [
            "| good | 6 | 1.000 · 1.000 · 1.000 (1.000) |",
            "| lost | 6 | 0.000 · 0.000 · 0.000 (0.000) |",
            "| **mean** | 12 | **0.500 · 0.500 · 0.500 (0.500)** |",
        ]
        assert "| peak memory above start, MiB |  | 3 |" in lines

    def test_the_sheet_shows_truth_and_mask_with_its_errors(self, tmp_path: Path) -> None:
        case = moving_disc()
        overlay_sheet([outcome_of(case, name="lost", masks=[EMPTY] * FRAMES)], tmp_path / "sheet.png")
        pixels = np.asarray(Image.open(tmp_path / "sheet.png")).reshape(-1, 3).astype(int)
        is_violet = (pixels[:, 2] > 150) & (pixels[:, 1] < 120)
        is_yellow = (pixels[:, 0] > 200) & (pixels[:, 1] > 100) & (pixels[:, 2] < 60)
        assert is_violet.sum() > 1000
        assert is_yellow.sum() > 1000

    def test_the_command_prints_tables_and_says_what_it_skips(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(command, "CLIPS", clip_folder(tmp_path / "clips", click={"x": 20, "y": 40}))
        options = ["--segmenter", "embedded", "--starts", "mask", "click", "--sheets", str(tmp_path / "out")]
        command.run(command.arguments([*options, "--real", "--frames", "4"]))
        printed = capsys.readouterr()
        assert "### `embedded`: real footage, first 4 frames" in printed.out
        assert "| disc | 4 | " in printed.out
        assert (tmp_path / "out" / "embedded-real-footage.png").is_file()
        monkeypatch.setattr(command, "CLIPS", tmp_path / "elsewhere")
        command.run(command.arguments([*options, "--real"]))
        assert "skipped real footage: there is no folder" in capsys.readouterr().err

    def test_without_a_name_those_that_are_not_ready_are_skipped_with_a_reason(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("DREAMMOTION_CACHE", str(tmp_path))
        command.run(command.arguments(["--world", "1", "--frames", "3", "--starts", "mask"]))
        printed = capsys.readouterr()
        assert printed.out.count("###") == 1
        assert "### `embedded`: procedural world, first 3 frames" in printed.out
        assert "skipped sam-vit-b: not ready" in printed.err

    @pytest.mark.parametrize("words", [["--frames", "2"], ["--checkpoint", "w.pth"], ["--starts", "luck"]])
    def test_wrong_arguments_are_refused(self, words: list[str]) -> None:
        with pytest.raises(SystemExit):
            command.arguments(words)

    def test_without_a_choice_everything_is_measured(self) -> None:
        assert command.arguments([]).real
        assert command.arguments([]).world == command.USUAL_WORLD_CLIPS
        assert not command.arguments(["--world", "3"]).real
        assert command.arguments(["--clips", "dog"]).real


def outcome_of(case: Case, *, name: str, masks: list[NDArray[np.bool_]]) -> Outcome:
    """What a run with these masks would have given."""
    named = Case(name, case.frames, case.masks, case.click)
    score = score_clip(masks, truth=case.masks)
    return Outcome(named, Start.MASK, masks, score, 1.0, 0, None, None, 0.1, 0.1, 3 << 20)
