"""The pairs of the study: clips of the procedural world, and folders of clips with a prompt file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.paper_tables import arguments, numbers_of, pairs_of
from benchmarks.study.pairs import FIRST_CASE, folder_pair, folder_rows, world_pair
from benchmarks.world_cases import edit_case
from dreammotion_core import ConfigError, MaskError, VideoError, write_video
from dreammotion_core.media.masks import write_masks
from tests.tiny import moving_square, save_moving_square, tiny_spec

SPEC = tiny_spec()
PROMPTS = "clip,source_prompt,target_prompt\none/clip.mp4,a red car,a blue car\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_moving_square(tmp_path / "one", fps=2 * SPEC.fps)
    (tmp_path / "prompts.csv").write_text(PROMPTS)
    return tmp_path


def test_pairs_of_the_world_are_new_and_fit_the_model() -> None:
    pair = world_pair(0, spec=SPEC)

    assert pair.source_prompt != pair.target_prompt
    assert len(pair.video) == SPEC.num_frames
    assert pair.mask.shape == pair.video.frames.shape[:3]
    assert pair.find_object is not None
    assert pair.outline is not None
    assert pair.find_object(pair.video.frames).any()
    assert edit_case(FIRST_CASE).source.is_held_out
    assert FIRST_CASE > 100


def test_the_first_pair_and_the_part_are_chosen(folder: Path) -> None:
    options = arguments(["--first", "26", "--pairs", "5", "--part", "2/2"])
    pairs = pairs_of(options, spec=SPEC)

    assert list(numbers_of(options, pairs=pairs)) == [27, 29]
    assert pairs.read(27).index == 27
    options = arguments(["--pairs", "1", "--part", "2/2"])
    with pytest.raises(ConfigError, match="--part is 2/2, but there are 1 pairs"):
        numbers_of(options, pairs=pairs)
    options = arguments(["--first", "1", "--clips", str(folder)])
    with pytest.raises(ConfigError, match="--first is 1"):
        numbers_of(options, pairs=pairs_of(options, spec=SPEC))


def test_a_folder_gives_every_so_many_frames_with_their_masks(folder: Path) -> None:
    pair = folder_pair(folder_rows(folder)[0], spec=SPEC)

    assert len(pair.video) == SPEC.num_frames
    assert pair.video.fps == SPEC.fps
    assert pair.mask.any(axis=(1, 2)).all()
    assert pair.title == "one: a blue car"
    # The square moves by one pixel a frame, and every second frame is taken.
    assert [int(np.flatnonzero(m.any(axis=0))[0]) for m in pair.mask] == [2, 4, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no prompts.csv"),
        ("clip,source_prompt\none/clip.mp4,a\n", "lacks target_prompt"),
        ("clip,source_prompt,target_prompt\n", "lacks rows"),
        (PROMPTS + "one/clip.mp4,,\n", "line 3 .* has no source_prompt, target_prompt"),
        (PROMPTS + "one/clip.mp4,a car, on a road,b\n", "line 3 .* more cells than columns; put .* quotes"),
        (PROMPTS + 'one/clip.mp4,"a car,b\n', "no table in UTF-8"),
        (PROMPTS + "\n\none/clip.mp4,a  car,a car\n", "line 5 .* both prompts are the same"),
        (PROMPTS + 'one/clip.mp4,"a\ncar",b\ntwo/clip.mp4,a,b\n', "line 5 .* names two/clip.mp4"),
        (
            PROMPTS.replace("_prompt\n", "_prompt,mask\n", 1) + "one/clip.mp4,a,b,x\n",
            "needs the mask .*x, which",
        ),
        (PROMPTS + "one/clip.mp4,a red car,a blue car\n", "asks twice for “a blue car”"),
        (PROMPTS + "two/clip.mp4,a,b\n", "line 3 .* names two/clip.mp4"),
        (PROMPTS.replace("_prompt\n", "_prompt,Mask\n"), "column 'Mask'; it takes clip, .*, mask, each once"),
        (PROMPTS.replace("_prompt\n", "_prompt,masks\n"), "column 'masks'; it takes clip"),
        (PROMPTS.replace("_prompt\n", "_prompt,clip\n"), "column 'clip'; .* each once"),
        (PROMPTS.replace("_prompt\n", "_prompt,,\n") + "one/clip.mp4,a,b,c\n", "line 3 .* more cells"),
        (PROMPTS + f"{300 * 'long'}.mp4,a,b\n", "line 3 .* which is not in"),
        (
            PROMPTS.replace("_prompt\n", "_prompt,mask\n", 1) + f"one/clip.mp4,a,b,{300 * 'long'}\n",
            "line 3 .* does not exist",
        ),
    ],
)
def test_a_wrong_prompt_file_is_refused(folder: Path, text: str | None, message: str) -> None:
    (folder / "prompts.csv").unlink()
    if text is not None:
        (folder / "prompts.csv").write_text(text)
    with pytest.raises(ConfigError, match=message):
        folder_rows(folder)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_prompt_file_in_another_encoding_is_refused(folder: Path, encoding: str) -> None:
    (folder / "prompts.csv").write_text(PROMPTS.replace("blue car", "café"), encoding)
    with pytest.raises(ConfigError, match=r"prompts\.csv is no table in UTF-8"):
        folder_rows(folder)


def test_a_prompt_file_of_a_spreadsheet_is_read(folder: Path) -> None:
    (folder / "prompts.csv").write_text(PROMPTS.replace("a red car", '"a red car, road"'), "utf-8-sig")
    (row,) = folder_rows(folder)

    assert (row.source_prompt, row.target_prompt) == ("a red car, road", "a blue car")
    assert (row.clip, row.mask) == (folder / "one" / "clip.mp4", folder / "one" / "masks")


def test_emptied_columns_of_a_spreadsheet_are_left_out(folder: Path) -> None:
    (folder / "prompts.csv").write_text("".join(f"{line},,\n" for line in PROMPTS.splitlines()))

    assert folder_rows(folder)[0].target_prompt == "a blue car"


def test_a_mask_video_is_no_clip_without_a_row(folder: Path) -> None:
    write_masks(moving_square(8, (64, 64))[1], folder / "one" / "mask.mp4")
    text = "clip,source_prompt,target_prompt,mask\none/clip.mp4,a red car,a blue car,one/mask.mp4\n"
    (folder / "prompts.csv").write_text(text)

    assert folder_rows(folder)[0].mask == folder / "one" / "mask.mp4"
    assert folder_pair(folder_rows(folder)[0], spec=SPEC).mask.any(axis=(1, 2)).all()


def test_the_number_of_a_row_is_that_of_its_contents(folder: Path) -> None:
    def number(text: str = PROMPTS) -> int:
        (folder / "prompts.csv").write_text(text)
        return folder_rows(folder)[0].number

    first = number()
    assert number(PROMPTS.replace("blue", "green")) != first
    (folder / "one").rename(folder / "two")
    assert number(PROMPTS.replace("one/", "two/")) == first
    (folder / "two").rename(folder / "one")
    clip = (folder / "one" / "clip.mp4").read_bytes()
    write_video(moving_square(4, (64, 64))[0], folder / "one" / "clip.mp4")
    assert number() != first
    (folder / "one" / "clip.mp4").write_bytes(clip)
    assert number() == first
    next((folder / "one" / "masks").iterdir()).unlink()
    assert number() != first


def test_a_clip_without_a_row_is_missed(folder: Path) -> None:
    write_video(moving_square(4, (64, 64))[0], folder / "three.mp4")
    with pytest.raises(ConfigError, match=r"no row for three\.mp4"):
        folder_rows(folder)


def test_a_clip_without_masks_or_too_short_is_refused(folder: Path) -> None:
    for file in (folder / "one" / "masks").iterdir():
        file.unlink()
    with pytest.raises(MaskError, match=r"line 2 of .*prompts\.csv, one/clip\.mp4: .*masks holds no PNG"):
        folder_pair(folder_rows(folder)[0], spec=SPEC)
    video, mask = moving_square(2, (64, 64))
    write_video(type(video)(video.frames, 2 * SPEC.fps), folder / "one" / "clip.mp4")
    write_masks(mask, folder / "short.npz")
    (folder / "prompts.csv").write_text("clip,source_prompt,target_prompt,mask\none/clip.mp4,a,b,short.npz\n")
    with pytest.raises(VideoError, match=r"line 2 of .*prompts\.csv, one/clip\.mp4: .* too short"):
        folder_pair(folder_rows(folder)[0], spec=SPEC)
