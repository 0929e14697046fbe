"""Masks in and out of the page: exact, refused before anything changes, and taken back in one step."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dreammotion_core import MaskError, read_objects, write_masks
from segmentation import (
    AddedObjects,
    Click,
    Prompt,
    Selection,
    SelectionError,
    Tracks,
    add_given_objects,
    load_segmenter,
)
from tests.tiny import moving_square
from web import clip as clips
from web.clip import Clip
from web.form import Refinement
from web.mask_exchange import MASK_KINDS, MaskExchange, check_export, export_masks, import_masks
from web.selection import apply_commands
from web.selection_views import bench_view, notices
from web.visitors import VisitorStore

NUM_FRAMES, SIZE = 3, (48, 64)
ON_SQUARE = Prompt(Selection(clicks=(Click(12, 18),)))


@pytest.fixture
def clip() -> Clip:
    return opened()


def opened() -> Clip:
    video, _ = moving_square(NUM_FRAMES, SIZE)
    tracks = Tracks(load_segmenter().open(video.frames), video.frames)
    return Clip(Path("clip.mp4"), video, tracks, "embedded")


def labels(clip: Clip) -> NDArray[np.uint8]:
    return np.stack([clip.tracks.labels(clip.project, frame_index=index) for index in range(NUM_FRAMES)])


def two_objects() -> NDArray[np.uint8]:
    masks = np.zeros((NUM_FRAMES, *SIZE), np.uint8)
    masks[:, 5:15, 5:25], masks[1:, 30:40, 20:30] = 3, 7
    return masks


def bring_in(clip: Clip, folder: Path, masks: NDArray[np.generic], name: str = "in.zip") -> tuple[str, ...]:
    import_masks(clip, path=write_masks(masks, folder / name, names={}))  # type: ignore[arg-type]
    return clip.remarks


def take_out(clip: Clip, folder: Path, kind: str) -> Path:
    path, notes = export_masks(clip.snapshot(), folder=folder, kind=kind)
    clip.remark(notes)
    return path


class Page:
    """The handlers, with one visitor who has the clip open."""

    def __init__(self, clip: Clip | None) -> None:
        visitors = VisitorStore()
        self.exchange, self.token = MaskExchange(visitors=visitors), visitors.admit()
        self.visitor = visitors.get(self.token)
        self.visitor.clip = clip

    def export(self, kind: object = "PNG") -> list[object]:
        """What the download button was given, in order."""
        updates = self.exchange.take_out(token=self.token, mask_kind=kind)
        return [button.value for update in updates if (button := update.get("mask_file")) is not None]


@pytest.mark.parametrize("kind", list(MASK_KINDS))
def test_one_object_goes_out_and_comes_back_bit_for_bit(clip: Clip, tmp_path: Path, kind: str) -> None:
    clip.history = clip.history.do(lambda project: project.with_prompt(1, ON_SQUARE))
    list(clip.tracks.update(clip.project))
    before = labels(clip)

    path = take_out(clip, tmp_path, kind)
    other = opened()
    import_masks(other, path=path)

    assert before.any(axis=(1, 2)).all()
    assert np.array_equal(labels(other), before)


@pytest.mark.parametrize("kind", ["PNG", "NumPy"])
def test_several_objects_keep_numbers_and_pixels(clip: Clip, tmp_path: Path, kind: str) -> None:
    bring_in(clip, tmp_path, two_objects())

    other = opened()
    import_masks(other, path=take_out(clip, tmp_path, kind))

    assert [tracked.number for tracked in other.project.objects] == [3, 7]
    assert np.array_equal(labels(other), two_objects())


def test_an_archive_keeps_names(clip: Clip, tmp_path: Path) -> None:
    bring_in(clip, tmp_path, two_objects())
    clip.history = clip.history.do(lambda project: project.restyled(7, name="the dog"))

    other = opened()
    import_masks(other, path=take_out(clip, tmp_path, "PNG"))

    assert [tracked.name for tracked in other.project.objects] == ["Object 3", "the dog"]
    assert other.remarks[0].startswith("Imported 2 objects: Object 3, the dog. Every frame counts as it is")


def test_an_import_is_followed_at_once_and_one_undo_takes_it_back(clip: Clip, tmp_path: Path) -> None:
    before = clip.project

    bring_in(clip, tmp_path, two_objects())

    list(clip.tracks.update(clip.project))
    assert clip.is_followed
    assert np.array_equal(labels(clip), two_objects())
    clip.history = clip.history.undo()
    assert clip.project == before


def test_an_import_joins_what_is_selected_and_says_new_numbers(clip: Clip, tmp_path: Path) -> None:
    clip.history = clip.history.do(lambda project: project.with_prompt(1, ON_SQUARE))

    notes = bring_in(clip, tmp_path, two_objects() == 3)

    assert [tracked.number for tracked in clip.project.objects] == [1, 2]
    assert clip.project.object(1).prompts == (ON_SQUARE,)
    assert notes[1] == "Object 1 of the file has the number 2 here, because its own was taken."


def test_what_is_unusual_about_a_file_is_said(clip: Clip, tmp_path: Path) -> None:
    path = write_masks(two_objects() > 0, tmp_path / "masks.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "hello")

    import_masks(clip, path=path)

    assert clip.remarks[-1] == "Only PNG files were read as masks; left out: notes.txt."


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        (two_objects()[:2], "has 2 frames but the clip has 3"),
        (two_objects()[:, :40], "is 64x40 pixels but the clip is 64x48"),
        (np.zeros_like(two_objects()), "selects nothing"),
    ],
)
def test_masks_that_do_not_fit_are_refused_and_nothing_is_lost(
    clip: Clip, tmp_path: Path, masks: NDArray[np.uint8], said: str
) -> None:
    clip.history = clip.history.do(lambda project: project.with_prompt(1, ON_SQUARE))
    before = clip.history

    with pytest.raises(MaskError, match=said):
        bring_in(clip, tmp_path, masks)

    assert clip.history is before


def hostile(folder: Path, kind: str) -> Path:
    path = folder / f"masks.{'npz' if kind == 'pickle' else 'zip'}"
    if kind == "pickle":
        np.savez(path, masks=np.array([{"a": 1}], dtype=object))
        return path
    picture = io.BytesIO()
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(picture, "PNG")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(NUM_FRAMES):
            name = f"../{index}.png" if kind == "path" else f"{index}.png"
            archive.writestr(name, b"\0" * 30_000_000 if kind == "bomb" else picture.getvalue())
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [("path", "unsafe entry"), ("bomb", "unpacks to 30,000,000 bytes"), ("pickle", "never loaded")],
)
def test_files_that_mean_harm_are_refused(clip: Clip, tmp_path: Path, kind: str, said: str) -> None:
    before = clip.history

    with pytest.raises(MaskError, match=said):
        import_masks(clip, path=hostile(tmp_path, kind))

    assert clip.history is before


def test_a_correction_after_an_import_changes_its_own_frame_alone(clip: Clip, tmp_path: Path) -> None:
    bring_in(clip, tmp_path, two_objects())
    prompt = clip.project.object(3).prompt_on(1)
    assert prompt is not None

    corrected = prompt.with_click(Click(15, 10, is_positive=False))
    clip.history = clip.history.do(lambda project: project.with_prompt(3, corrected))
    list(clip.tracks.update(clip.project))

    changed = (labels(clip) != two_objects()).any(axis=(1, 2))
    assert changed.tolist() == [False, True, False]


def test_exports_that_make_no_sense_are_refused(clip: Clip, tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="nothing is selected"):
        check_export(clip.snapshot(), kind="PNG")
    bring_in(clip, tmp_path, two_objects())
    with pytest.raises(MaskError, match="a video holds one object, but 2 are selected; choose PNG or NumPy"):
        check_export(clip.snapshot(), kind="MP4")
    for kind in ("masks.zip", None, 3):
        with pytest.raises(MaskError, match="choose one of: PNG"):
            check_export(clip.snapshot(), kind=kind)


def test_empty_masks_are_not_exported(clip: Clip, tmp_path: Path) -> None:
    nothing = Prompt.of_mask(0, np.zeros(SIZE, bool))
    clip.history = clip.history.do(lambda project: project.with_prompt(1, nothing))

    with pytest.raises(MaskError, match="empty on every frame"):
        take_out(clip, tmp_path, "PNG")


def test_an_exported_archive_is_one_that_other_tools_read(clip: Clip, tmp_path: Path) -> None:
    bring_in(clip, tmp_path, two_objects())

    path = take_out(clip, tmp_path, "PNG")

    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["00000.png", "00001.png", "00002.png", "objects.json"]
        with Image.open(archive.open("00001.png")) as picture:
            assert picture.mode == "P"
            assert np.array_equal(np.asarray(picture), two_objects()[1])
    assert read_objects(path, num_frames=NUM_FRAMES, size=SIZE).present == (3, 7)


def test_an_import_is_reported_until_it_is_taken_back(clip: Clip, tmp_path: Path) -> None:
    page = Page(clip)
    path = write_masks(two_objects(), tmp_path / "in.zip", names={7: "dog"})

    page.exchange.bring_in(token=page.token, mask_upload=str(path))
    clip.history = clip.history.do(lambda project: project.restyled(3, name="cat"))
    assert notices(clip)[0].startswith("Imported 2 objects: Object 3, dog.")
    assert [each["number"] for each in bench_view(clip, frame=0)["objects"]] == [3, 7]

    clip.history = clip.history.undo().undo()
    assert notices(clip) == []
    clip.history = clip.history.redo()
    assert notices(clip)[0].startswith("Imported 2 objects")


def overlapping(clip: Clip) -> None:
    """Objects 1 and 2 share pixels on the first two frames; object 2 was changed last."""
    for number, mask in ((1, two_objects() == 3), (2, np.roll(two_objects() == 3, 8, axis=2))):
        project = clip.project if number == 1 else clip.project.add_object()
        for index in range(NUM_FRAMES):
            given = Prompt.of_mask(index, mask[index] if index < 2 else mask[index] & (number == 1))
            project = project.with_prompt(number, given)
        clip.history = clip.history.do(lambda _, project=project: project)


def test_objects_that_overlap_stay_whole_in_npz(clip: Clip, tmp_path: Path) -> None:
    overlapping(clip)

    other = opened()
    import_masks(other, path=take_out(clip, tmp_path, "NumPy"))

    for number in (1, 2):
        for index in range(NUM_FRAMES):
            before, after = (
                each.tracks.mask(each.project, number=number, frame_index=index) for each in (clip, other)
            )
            assert np.array_equal(before, after)
    assert clip.remarks == ()


def test_pictures_cannot_keep_an_overlap_and_it_is_said(clip: Clip, tmp_path: Path) -> None:
    overlapping(clip)

    path = take_out(clip, tmp_path, "PNG")

    assert np.array_equal(read_objects(path, num_frames=NUM_FRAMES, size=SIZE).numbers, labels(clip))
    assert "Objects overlap on 2 of 3 frames" in notices(clip)[0]
    assert "NumPy (.npz) keeps each of them whole" in notices(clip)[0]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Chien\u00a0noir", "Chien noir"),
        ("\U0001f469\u200d\U0001f680", "\U0001f469\U0001f680"),
        ("\u0633\u06af\u200c\u0647\u0627", "\u0633\u06af\u0647\u0627"),
        ("\u200d", "Object 3"),
    ],
)
def test_a_name_that_files_cannot_keep_is_written_as_they_can(
    clip: Clip, tmp_path: Path, name: str, written: str
) -> None:
    bring_in(clip, tmp_path, two_objects())
    apply_commands(clip, [{"do": "style", "object": 3, "name": name, "colour": "#102030"}])

    path = take_out(clip, tmp_path, "PNG")

    assert read_objects(path, num_frames=NUM_FRAMES, size=SIZE).names == {3: written, 7: "Object 7"}
    assert clip.project.object(3).name == name
    assert f"{name} is called {written} in the file." in clip.remarks
    assert not any("Object 7 is called" in remark for remark in clip.remarks)


def test_an_export_follows_first_and_never_offers_an_earlier_file(clip: Clip) -> None:
    clip.history = clip.history.do(lambda project: project.with_prompt(1, ON_SQUARE))
    page = Page(clip)

    before, path = page.export()

    assert before is None
    assert "masks.zip" in str(path)
    assert clip.is_followed


def test_filled_masks_are_exported_as_they_are_shown(clip: Clip, tmp_path: Path) -> None:
    ring = two_objects() == 3
    ring[:, 8:12, 10:20] = False
    bring_in(clip, tmp_path, ring)
    clip.refinement = Refinement(fill="holes")

    path = take_out(clip, tmp_path, "PNG")

    given = read_objects(path, num_frames=NUM_FRAMES, size=SIZE)
    assert np.array_equal(given.numbers, (two_objects() == 3).astype(np.uint8))


def test_what_changes_during_an_export_is_not_in_it(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_in(clip, tmp_path, two_objects())
    list(clip.tracks.update(clip.project))
    clip.refinement = Refinement(fill="holes")
    page, fill = Page(clip), clips.fill_holes

    def fill_while_the_visitor_goes_on(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        if len(clip.project.objects) == 2:
            apply_commands(clip, [{"do": "remove", "object": 3}, {"do": "remove", "object": 7}])
        return fill(masks)

    monkeypatch.setattr(clips, "fill_holes", fill_while_the_visitor_goes_on)
    updates = page.exchange.take_out(token=page.token, mask_kind="PNG")
    next(updates)
    path = next(updates)["mask_file"].value["path"]

    out = read_objects(path, num_frames=NUM_FRAMES, size=SIZE)
    assert np.array_equal(out.numbers, two_objects())


def test_a_click_during_an_import_is_not_lost(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply_commands(clip, [{"do": "click", "frame": 0, "x": 12, "y": 18, "is_positive": True}])
    commands = [{"do": "style", "object": 1, "name": "square", "colour": "#102030"}]
    click = threading.Thread(target=apply_commands, args=(clip, commands))

    def add_while_the_visitor_goes_on(*given: Any, **more: Any) -> AddedObjects:
        added = add_given_objects(*given, **more)
        click.start()
        click.join(0.2)
        return added

    monkeypatch.setattr("web.mask_exchange.add_given_objects", add_while_the_visitor_goes_on)
    bring_in(clip, tmp_path, two_objects())
    click.join()

    assert [tracked.name for tracked in clip.project.objects] == ["square", "Object 3", "Object 7"]


def test_clicks_are_about_an_imported_object(clip: Clip, tmp_path: Path) -> None:
    bring_in(clip, tmp_path, two_objects())

    assert clip.picked.number == 3


def test_a_stopped_export_offers_nothing(clip: Clip) -> None:
    clip.history = clip.history.do(lambda project: project.with_prompt(1, ON_SQUARE))
    page = Page(clip)
    offered = []

    for update in page.exchange.take_out(token=page.token, mask_kind="PNG"):
        offered += [update["mask_file"].value] if "mask_file" in update else []
        page.visitor.stop.set()

    assert offered == [None]
    assert not page.visitor.is_busy


def test_without_a_clip_or_a_file_it_is_said_what_to_do() -> None:
    with pytest.raises(SelectionError, match="no clip is open"):
        Page(None).export()
    page = Page(opened())
    with pytest.raises(MaskError, match=r"choose one of these kinds: \.zip"):
        page.exchange.bring_in(token=page.token, mask_upload=None)


def test_the_record_of_imported_masks_names_them_and_holds_none(clip: Clip, tmp_path: Path) -> None:
    bring_in(clip, tmp_path, two_objects())

    (first, _), text = clip.snapshot().record()["objects"], json.dumps(clip.snapshot().record())

    assert (first["number"], first["prompts"][0]["mask"]["area"]) == (3, 200)
    assert len(first["prompts"][0]["mask"]["sha256"]) == 64
    assert len(text) < 300 * 2 * NUM_FRAMES
