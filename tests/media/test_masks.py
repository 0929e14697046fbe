"""Masks go out and come back bit for bit, and nothing that does not fit gets in."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from dreammotion_core import (
    GivenMasks,
    MaskError,
    MaskStream,
    OutputError,
    read_masks,
    read_objects,
    write_masks,
    write_objects,
)
from dreammotion_core.media import archives
from dreammotion_core.media.masks import check_mask_target

F, H, W = 3, 33, 47
SIZE = (H, W)
KINDS = ("folder", "masks.zip", "masks.npz", "masks.mp4")


def noise(num_frames: int = F) -> NDArray[np.bool_]:
    """The hardest masks there are for a video."""
    return np.random.default_rng(0).random((num_frames, H, W)) > 0.5


def numbered() -> NDArray[np.uint8]:
    """Objects 1, 2 and 200, with gaps between their numbers."""
    return np.random.default_rng(1).choice(np.array([0, 1, 2, 200], np.uint8), (F, H, W))


def read(path: Path, object_index: int | None = None) -> GivenMasks:
    return read_masks(path, num_frames=F, size=SIZE, object_index=object_index)


def codes(given: GivenMasks) -> list[str]:
    return [notice.code for notice in given.notices]


def save_greys(folder: Path, levels: NDArray[np.uint8]) -> Path:
    folder.mkdir()
    for index, picture in enumerate(levels):
        Image.fromarray(picture).save(folder / f"{index}.png")
    return folder


def png_bytes(picture: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def save_zip(path: Path, entries: dict[str, bytes], **options: int) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:  # type: ignore[call-overload]
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def mask_entries(folder: str = "") -> dict[str, bytes]:
    levels = noise().astype(np.uint8) * 255
    return {f"{folder}{index}.png": png_bytes(picture) for index, picture in enumerate(levels)}


def save_video(path: Path, pictures: NDArray[np.uint8]) -> Path:
    """(F, H, W, 3) RGB as an ordinary H.264 file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


# --- there and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_masks_come_back_bit_for_bit(tmp_path: Path, kind: str) -> None:
    path = write_masks(noise(), tmp_path / "new" / kind)

    given = read(path)

    assert given.masks.dtype == np.bool_
    assert np.array_equal(given.masks, noise())
    assert given.notices == ()


@pytest.mark.parametrize("kind", ["folder", "masks.zip", "masks.npz"])
def test_several_objects_come_back_with_their_numbers(tmp_path: Path, kind: str) -> None:
    path = write_masks(numbered(), tmp_path / kind)

    given = read_objects(path, num_frames=F, size=SIZE)

    assert np.array_equal(given.numbers, numbered())
    assert given.present == (1, 2, 200)
    assert np.array_equal(read(path, object_index=200).masks, numbered() == 200)


def test_black_and_white_is_one_object(tmp_path: Path) -> None:
    given = read_objects(write_masks(noise(), tmp_path / "m.mp4"), num_frames=F, size=SIZE)

    assert given.present == (1,)
    assert np.array_equal(given.numbers, noise())


def test_object_may_be_missing_on_some_frames(tmp_path: Path) -> None:
    masks = noise()
    masks[1] = False
    for kind in KINDS:
        given = read(write_masks(masks, tmp_path / kind))

        assert np.array_equal(given.masks, masks)
        assert "nothing on 1 of 3 frames" in given.notices[0].text


def test_pictures_are_black_and_white_and_numbers_are_a_palette(tmp_path: Path) -> None:
    write_masks(noise(), tmp_path / "grey")
    write_masks(numbered(), tmp_path / "palette")

    with Image.open(tmp_path / "grey" / "00001.png") as grey:
        assert set(np.unique(np.asarray(grey))) == {0, 255}
    with Image.open(tmp_path / "palette" / "00001.png") as palette:
        assert palette.mode == "P"
        assert palette.getpalette()[:3] == [0, 0, 0]  # type: ignore[index]


def test_video_is_one_that_every_player_shows(tmp_path: Path) -> None:
    path = write_masks(noise(), tmp_path / "m.mp4", fps=12.5)

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.profile) == ("h264", "High")
        assert (stream.codec_context.pix_fmt, stream.average_rate) == ("yuv420p", 12.5)


def test_equal_masks_give_equal_archives(tmp_path: Path) -> None:
    one, two = (write_masks(noise(), tmp_path / name) for name in ("one.zip", "two.zip"))

    assert one.read_bytes() == two.read_bytes()


def test_one_picture_or_one_plane_is_the_mask_of_all_frames(tmp_path: Path) -> None:
    mask = noise()[0]
    (tmp_path / "one.png").write_bytes(png_bytes(mask.astype(np.uint8) * 255))
    np.savez(tmp_path / "one.npz", mask)

    for name in ("one.png", "one.npz"):
        assert np.array_equal(read(tmp_path / name).masks, np.stack([mask] * F))


def layers() -> dict[int, NDArray[np.bool_]]:
    """Object 4 lies over a part of object 9, and hides it on the last frame."""
    masks = {9: np.zeros((F, H, W), np.bool_), 4: np.zeros((F, H, W), np.bool_)}
    masks[9][:, 3:20, 5:30], masks[4][:, 10:30, 20:40] = True, True
    masks[4][2, 3:20, 5:30] = True
    return masks


def test_objects_that_overlap_stay_whole_in_npz(tmp_path: Path) -> None:
    notices = write_objects(layers(), tmp_path / "m.npz")

    given = read_objects(tmp_path / "m.npz", num_frames=F, size=SIZE)

    assert notices == ()
    assert set(given.masks) == {4, 9}
    assert given.numbers[0, 12, 25] == 9
    for number, mask in layers().items():
        assert np.array_equal(given.masks[number], mask)
        assert np.array_equal(read(tmp_path / "m.npz", object_index=number).masks, mask)
    with pytest.raises(MaskError, match="the objects 4 and 9; choose one"):
        read(tmp_path / "m.npz")


@pytest.mark.parametrize("kind", ["folder", "m.zip"])
def test_pictures_give_a_pixel_to_the_uppermost_object_and_say_so(tmp_path: Path, kind: str) -> None:
    (notice,) = write_objects(layers(), tmp_path / kind)

    given = read_objects(tmp_path / kind, num_frames=F, size=SIZE)

    assert notice.code == "overlap"
    assert "overlap on 3 of 3 frames" in notice.text
    assert given.numbers[0, 12, 25] == 4
    assert np.array_equal(given.masks[4], layers()[4])


def test_objects_apart_are_one_array_and_nothing_is_said(tmp_path: Path) -> None:
    apart = {number: numbered() == number for number in (1, 2, 200)}

    assert write_objects(apart, tmp_path / "m.npz") == ()

    with np.load(tmp_path / "m.npz") as saved:
        assert np.array_equal(saved["masks"], numbered())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([f"object_{number}" for number in range(1, 34)], "33 objects with numbers up to 33"),
        (["object_1", "object_256"], "numbers up to 256"),
        (["object_1", "other"], "holds object_1, other, not one array"),
    ],
)
def test_an_npz_of_other_layers_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    np.savez(tmp_path / "m.npz", **{name: noise() for name in names})

    with pytest.raises(MaskError, match=message):
        read(tmp_path / "m.npz")


def test_objects_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    many = dict.fromkeys(range(1, 34), noise())
    for objects, name, message in (
        ({}, "m.npz", "pass at least one"),
        ({0: noise()}, "m.npz", "numbers from 1 to 255"),
        (layers(), "m.mp4", "a video holds the mask of one object"),
        (many, "m.npz", "33 objects overlap"),
    ):
        with pytest.raises(MaskError, match=message):
            write_objects(objects, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_is_written_frame_by_frame(tmp_path: Path, kind: str) -> None:
    count, size = 60, (480, 640)
    one = np.zeros(size, np.bool_)
    one[100:200, 50:90] = True
    stream = MaskStream((count, *size), one.dtype, (np.roll(one, index, axis=1) for index in range(count)))

    tracemalloc.start()
    path = write_masks(stream, tmp_path / kind)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    given = read_masks(path, num_frames=count, size=size)
    assert np.array_equal(given.masks[59], np.roll(one, 59, axis=1))
    assert peak < count * one.nbytes / 2


@pytest.mark.parametrize("kind", ["folder", "m.zip"])
@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (noise(2), r"only 2 of 3 masks came"),
        (noise(4), r"mask 4 is .* but 3 of"),
        (numbered(), "of uint8, but 3 of"),
        (noise()[:, :9], r"mask 1 is \(9, 47\)"),
    ],
)
def test_a_stream_that_is_not_what_was_said_leaves_nothing(
    tmp_path: Path, frames: NDArray[np.bool_], message: str, kind: str
) -> None:
    with pytest.raises(MaskError, match=message):
        write_masks(MaskStream((F, H, W), np.dtype(np.bool_), frames), tmp_path / kind)

    assert not list(tmp_path.iterdir())


# --- what levels mean -----------------------------------------------------------------------------


def test_greys_are_divided_at_128_and_it_is_said(tmp_path: Path) -> None:
    levels = np.random.default_rng(2).integers(0, 256, (F, H, W), np.uint8)

    given = read(save_greys(tmp_path / "greys", levels))

    assert np.array_equal(given.masks, levels >= 128)
    assert codes(given) == ["thresholded"]


def test_zero_and_one_is_black_and_white(tmp_path: Path) -> None:
    given = read(save_greys(tmp_path / "m", noise().astype(np.uint8)))

    assert np.array_equal(given.masks, noise())
    assert given.notices == ()


def test_noise_on_one_frame_of_a_black_and_white_sequence_is_no_object(tmp_path: Path) -> None:
    levels = noise().astype(np.uint8) * 255
    levels[2] = noise()[2]

    given = read(save_greys(tmp_path / "m", levels))

    assert not given.masks[2].any()
    assert codes(given) == ["thresholded", "empty_frames"]


def test_levels_that_number_objects_in_a_grey_picture_can_be_chosen(tmp_path: Path) -> None:
    levels = np.where(noise(), 3, 7).astype(np.uint8)
    path = save_greys(tmp_path / "m", levels)

    with pytest.raises(MaskError, match="brightest level of the mask is 7"):
        read(path)
    assert np.array_equal(read(path, object_index=3).masks, noise())


def test_one_of_several_objects_has_to_be_chosen(tmp_path: Path) -> None:
    path = write_masks(numbered(), tmp_path / "m.zip")

    with pytest.raises(MaskError, match="objects 1, 2 and 200; choose one"):
        read(path)
    with pytest.raises(MaskError, match="no object 3, only the objects 1, 2 and 200"):
        read(path, object_index=3)


def test_only_object_needs_no_choice_whatever_its_number(tmp_path: Path) -> None:
    masks = noise().astype(np.uint8) * np.uint8(5)

    for kind in ("folder", "masks.npz"):
        assert np.array_equal(read(write_masks(masks, tmp_path / kind)).masks, noise())


def test_video_has_no_numbers_to_choose_from(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="a mask video holds one object"):
        read(write_masks(noise(), tmp_path / "m.mp4"), object_index=1)


def test_whole_numbers_of_any_width_and_order_are_read_from_npz(tmp_path: Path) -> None:
    wide = np.asfortranarray(numbered().astype(np.int64))
    np.savez(tmp_path / "m.npz", labels=wide)

    assert np.array_equal(read_objects(tmp_path / "m.npz", num_frames=F, size=SIZE).numbers, numbered())


def test_everything_selected_is_said(tmp_path: Path) -> None:
    assert codes(read(write_masks(np.ones((F, H, W), bool), tmp_path / "m.npz"))) == ["full_mask"]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_selected_is_refused(tmp_path: Path, kind: str) -> None:
    path = write_masks(np.zeros((F, H, W), bool), tmp_path / kind)

    with pytest.raises(MaskError, match="the mask selects nothing"):
        read(path)


# --- masks that do not fit ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("num_frames", "size", "message"),
    [
        (F + 1, SIZE, "3 frames but the clip has 4"),
        (F, (H, W - 1), "but the clip is 46x33"),
        (F, (H + 2, W), "but the clip is 47x35"),
    ],
)
def test_masks_of_another_clip_are_refused(
    tmp_path: Path, kind: str, num_frames: int, size: tuple[int, int], message: str
) -> None:
    path = write_masks(noise(), tmp_path / kind)

    with pytest.raises(MaskError, match=message):
        read_masks(path, num_frames=num_frames, size=size)


def test_one_picture_of_another_size_is_named(tmp_path: Path) -> None:
    folder = write_masks(noise(), tmp_path / "m")
    Image.new("L", (W, H + 1), 255).save(folder / "00001.png")

    with pytest.raises(MaskError, match=r"00001\.png: the mask is 47x34 pixels but the clip is 47x33"):
        read(folder)


def coloured_picture() -> Image.Image:
    return Image.new("RGB", (W, H), (128, 0, 0))


def inverted_palette() -> Image.Image:
    picture = Image.fromarray(noise()[0].astype(np.uint8))
    picture.putpalette([255, 255, 255, 0, 0, 0])
    return picture


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (coloured_picture, "has colours"),
        (inverted_palette, "white is number 0"),
    ],
)
def test_picture_whose_levels_could_be_misread_is_refused(
    tmp_path: Path, picture: Callable[[], Image.Image], message: str
) -> None:
    picture().save(tmp_path / "m.png")

    with pytest.raises(MaskError, match=message):
        read(tmp_path / "m.png")


@pytest.mark.parametrize(("colour_type", "num_bytes"), [(0, 2), (2, 6), (4, 4), (6, 8)])
def test_picture_of_16_bits_a_channel_is_refused_coloured_or_not(
    tmp_path: Path, colour_type: int, num_bytes: int
) -> None:
    (tmp_path / "m.png").write_bytes(handmade_png(colour_type=colour_type, num_bytes=num_bytes))

    with pytest.raises(MaskError, match="more than 8 bits"):
        read(tmp_path / "m.png")


def test_pictures_of_two_kinds_are_refused(tmp_path: Path) -> None:
    folder = save_greys(tmp_path / "m", noise().astype(np.uint8))
    write_masks(numbered(), tmp_path / "palette")
    (tmp_path / "palette" / "00002.png").rename(folder / "2.png")

    with pytest.raises(MaskError, match="of two kinds"):
        read(folder)


def test_transparent_parts_are_no_object_and_it_is_said(tmp_path: Path) -> None:
    picture = np.full((H, W, 4), 255, np.uint8)
    picture[..., 3] = noise()[0] * 255
    Image.fromarray(picture).save(tmp_path / "m.png")

    given = read(tmp_path / "m.png")

    assert np.array_equal(given.masks[0], noise()[0])
    assert codes(given) == ["alpha"]


def test_damaged_and_bloated_pictures_are_refused(tmp_path: Path) -> None:
    bloated = PngImagePlugin.PngInfo()
    bloated.add_text("comment", "x" * 5_000_000, zip=True)
    Image.new("L", (W, H), 255).save(tmp_path / "bloated.png", pnginfo=bloated)
    whole = (tmp_path / "bloated.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(png_bytes(noise()[0].astype(np.uint8))[:-40])
    (tmp_path / "text.png").write_text("no picture")

    assert len(whole) < 100_000
    for name in ("bloated.png", "cut.png", "text.png"):
        with pytest.raises(MaskError, match="not a readable PNG"):
            read(tmp_path / name)


def handmade_png(*, colour_type: int, num_bytes: int, behind: tuple[bytes, bytes] | None = None) -> bytes:
    """A black picture of so many bytes a pixel, with a chunk of this name and content behind its pixels."""
    depth = 8 * num_bytes // {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", W, H, depth, colour_type, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(1 + W * num_bytes) * H)),
        *([] if behind is None else [behind]),
        (b"IEND", b""),
    ]
    parts = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("colour_type", "behind"),
    [(2, (b"tRNS", b"")), (0, (b"gAMA", b"")), (0, (b"cHRM", b"a")), (0, (b"iCCP", b"a\0"))],
)
def test_a_cut_part_behind_the_pixels_gives_no_trace(
    tmp_path: Path, colour_type: int, behind: tuple[bytes, bytes]
) -> None:
    picture = handmade_png(colour_type=colour_type, num_bytes=3 if colour_type == 2 else 1, behind=behind)
    (tmp_path / "m.png").write_bytes(picture)

    with pytest.raises(MaskError, match="not a readable PNG"):
        read(tmp_path / "m.png")


def test_what_is_no_mask_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("0 1 0")

    with pytest.raises(MaskError, match=r"pass a folder of PNG files, or a \.png, \.zip, \.npz or \.mp4"):
        read(tmp_path / "m.txt")
    with pytest.raises(MaskError, match="there is no"):
        read(tmp_path / "nowhere")


# --- zip ------------------------------------------------------------------------------------------


def test_zip_of_a_nested_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    entries = mask_entries("clip/masks/frame")
    # As many programs pack: folders listed, the order of letters, clutter of an operating system.
    clutter = {"clip/": b"", "__MACOSX/clip/._1.png": b"x", "clip/.DS_Store": b"x"}
    renamed = {name.replace("frame2", "frame10"): content for name, content in reversed(entries.items())}

    given = read(save_zip(tmp_path / "m.zip", {**clutter, **renamed}))

    assert np.array_equal(given.masks, noise())
    assert given.notices == ()


def test_other_files_in_zip_and_folder_are_left_out_and_named(tmp_path: Path) -> None:
    archive = save_zip(tmp_path / "m.zip", {**mask_entries(), "notes.txt": b"hello"})
    folder = write_masks(noise(), tmp_path / "folder")
    (folder / "notes.txt").write_text("hello")

    for path in (archive, folder):
        given = read(path)
        assert codes(given) == ["stray_files"]
        assert "notes.txt" in given.notices[0].text


@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/etc/evil.png", "C:\\evil.png"])
def test_name_that_leads_out_of_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    path = save_zip(tmp_path / "m.zip", {**mask_entries(), name: b"x"})

    with pytest.raises(MaskError, match="unsafe entry"):
        read(path)
    assert sorted(tmp_path.iterdir()) == [path]


def test_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("0.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")

    with pytest.raises(MaskError, match="unsafe entry"):
        read(tmp_path / "m.zip")


def test_zip_that_declares_ten_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    for name, entry in (("m.zip", "0.png"), ("m.npz", "a.npy")):
        whole = write_masks(noise(1), tmp_path / name)
        with zipfile.ZipFile(whole) as archive:
            content = archive.read(archive.namelist()[0])
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(entry, content)
            archive.filelist[0].file_size = 10 * 2**30

        with pytest.raises(MaskError, match="unpacks to 10,737,418,240 bytes"):
            read_masks(tmp_path / name, num_frames=1, size=SIZE)


@pytest.mark.parametrize("name", ["m.zip", "m.npz"])
def test_zip_that_hides_its_true_size_is_never_unpacked_further(tmp_path: Path, name: str) -> None:
    entry = "0.png" if name == "m.zip" else "a.npy"
    with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(entry, bytes(64 * 2**20))
        archive.filelist[0].file_size = 1000
    tracemalloc.start()

    with pytest.raises(MaskError):
        read_masks(tmp_path / name, num_frames=1, size=SIZE)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_only_the_list_of_entries_is_bounded_not_what_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "_LONGEST_LIST", 1000)
    path = save_zip(tmp_path / "m.zip", {"0.png": bytes(5000)})

    with archives.opened_archive(path, error=MaskError, wanted="the masks", most_bytes=2**20) as archive:
        assert archive.read("0.png") == bytes(5000)
    with pytest.raises(MaskError, match="its list of entries has"):
        read(save_zip(path, {f"{index}.png": b"x" for index in range(100)}))


def encrypted(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("0.png", b"x")
        archive.filelist[0].flag_bits |= 1


def of_two_folders(path: Path) -> None:
    save_zip(path, {**mask_entries("a/"), **mask_entries("b/")})


def without_pictures(path: Path) -> None:
    save_zip(path, {"notes.txt": b"hello"})


def in_bzip2(path: Path) -> None:
    save_zip(path, mask_entries(), compression=zipfile.ZIP_BZIP2)


def with_a_name_twice(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("0.png", b"x")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("0.png", b"x")


def cut_off(path: Path) -> None:
    save_zip(path, mask_entries())
    path.write_bytes(path.read_bytes()[:-30])


def with_a_flipped_bit(path: Path) -> None:
    content = bytearray(save_zip(path, mask_entries()).read_bytes())
    content[len(mask_entries()["0.png"]) // 2 + 30] ^= 1
    path.write_bytes(content)


def of_a_later_version(path: Path) -> None:
    content = bytearray(save_zip(path, mask_entries()).read_bytes())
    content[content.index(b"PK\1\2") + 6] = 200
    path.write_bytes(content)


def with_a_name_that_is_no_text(path: Path) -> None:
    content = save_zip(path, {"é.png": b"x"}).read_bytes()
    path.write_bytes(content.replace("é".encode(), b"\xff\xff"))


def with_an_entry_that_ends_early(path: Path) -> None:
    content = bytearray(save_zip(path, {f"{k}.png": b"x" for k in range(F)}).read_bytes())
    for size in (20, 24):
        content[content.index(b"PK\1\2") + size + 1] = 1
    path.write_bytes(content)


def too_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**30 + 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (encrypted, "without a password"),
        (of_two_folders, r"in 2 folders \(a, b, ...\)"),
        (without_pictures, "holds no PNG file"),
        (in_bzip2, "compressed in an unusual way"),
        (with_a_name_twice, "two entries '0.png'"),
        (cut_off, "m.zip cannot be read"),
        (with_a_flipped_bit, "m.zip cannot be read"),
        (of_a_later_version, r"cannot be read \(zip file version 20"),
        (with_a_name_that_is_no_text, r"cannot be read \('utf-8' codec"),
        (with_an_entry_that_ends_early, r"cannot be read \(it ends too early\)"),
        (too_large, "larger than 1024 MB"),
    ],
)
def test_zip_that_cannot_be_used_is_refused(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "m.zip")

    with pytest.raises(MaskError, match=message):
        read(tmp_path / "m.zip")


# --- npz ------------------------------------------------------------------------------------------


REST = f", 'fortran_order': False, 'shape': {(F, H, W)}}}"
"""The rest of the description of an array, after its type."""


class Trap:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.trace,)


def test_pickle_in_an_npz_is_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", np.array([Trap(tmp_path / "trace")], object))

    with pytest.raises(MaskError, match="Python objects, which are never loaded"):
        read(tmp_path / "m.npz")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"m": np.zeros((F, H, W), np.float32)}, "holds float32; save one"),
        ({"m": np.full((F, H, W), 256, np.uint16)}, "values from 256 to 256"),
        ({"m": np.full((F, H, W), -1, np.int8)}, "values from -1 to -1"),
        ({"m": np.ones((F, H, W, 1), bool)}, r"shape \(3, 33, 47, 1\)"),
        ({"m": np.ones((), bool)}, r"shape \(\)"),
        ({"a": np.ones((F, H, W), bool), "b": np.ones(3)}, "holds a, b, not one array"),
        ({}, "holds nothing, not one array"),
    ],
)
def test_npz_that_does_not_fit_is_refused(
    tmp_path: Path, arrays: dict[str, NDArray[np.generic]], message: str
) -> None:
    np.savez(tmp_path / "m.npz", **arrays)  # type: ignore[arg-type]

    with pytest.raises(MaskError, match=message):
        read(tmp_path / "m.npz")


def test_an_npz_of_many_wide_layers_takes_little_memory(tmp_path: Path) -> None:
    wide = np.zeros((12, 120, 160), np.uint64)
    wide[:, 10:50, 20:60] = 1
    np.savez_compressed(tmp_path / "m.npz", **{f"object_{number}": wide for number in range(1, 25)})
    tracemalloc.start()

    given = read_objects(tmp_path / "m.npz", num_frames=12, size=(120, 160))

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(given.masks[24], wide > 0)
    assert given.present == tuple(range(1, 25))
    # The file holds 24 layers of eight bytes a pixel.
    assert peak < 14 * wide.size


@pytest.mark.parametrize("keep", [4, 60, -100])
def test_npz_with_a_broken_array_is_refused(tmp_path: Path, keep: int) -> None:
    array = io.BytesIO()
    np.save(array, noise())
    save_zip(tmp_path / "m.npz", {"m.npy": array.getvalue()[:keep]})

    with pytest.raises(MaskError, match=r"m\.npz"):
        read(tmp_path / "m.npz")


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': (",
        "{1: 2, 'a': 3}",
        "{[]: 1}",
        "{1: " + "-" * 9000,
        "2" + "+2" * 4900,
        "{'descr': ('|b1',)" + REST,
    ],
    ids=["cut", "mixed", "unhashable", "nested", "recursive", "tuple"],
)
def test_npz_whose_header_is_no_description_is_refused(tmp_path: Path, header: str) -> None:
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + noise().tobytes()
    save_zip(tmp_path / "m.npz", {"m.npy": array})

    with pytest.raises(MaskError, match=r"m\.npz does not hold an array in numpy's format"):
        read(tmp_path / "m.npz")


# --- video ----------------------------------------------------------------------------------------


def test_soft_video_is_divided_at_128_and_it_is_said(tmp_path: Path) -> None:
    pictures = np.zeros((F, 32, 48, 3), np.uint8)
    pictures[:, 8:24, 8:24] = 170

    path = save_video(tmp_path / "m.mp4", pictures)
    given = read_masks(path, num_frames=F, size=(32, 48))

    assert codes(given) == ["thresholded"]
    assert given.masks[:, 10:22, 10:22].all()


def test_coloured_black_and_broken_videos_are_refused(tmp_path: Path) -> None:
    red = np.zeros((F, 32, 48, 3), np.uint8)
    red[..., 0] = 255
    save_video(tmp_path / "red.mp4", red)
    save_video(tmp_path / "black.mp4", np.zeros_like(red))
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "red.mp4").read_bytes()[:-200])
    (tmp_path / "text.mp4").write_text("no video")

    for name, message in (
        ("red.mp4", "has colours"),
        ("black.mp4", "selects nothing"),
        ("cut.mp4", "the mask cannot be read"),
        ("text.mp4", "the mask cannot be read"),
    ):
        with pytest.raises(MaskError, match=message):
            read_masks(tmp_path / name, num_frames=F, size=(32, 48))


# --- writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("masks", "name", "message"),
    [
        (noise(), "m.avi", "ends in .avi; choose"),
        (noise()[0], "m.zip", r"shape \(33, 47\)"),
        (noise().astype(np.float32), "m.npz", "type float32"),
        (numbered(), "m.mp4", "the mask of one object"),
        (noise(1), "m.mp4", "one mask is no video"),
        (noise()[:, :4], "m.mp4", "at least 16 on a side"),
    ],
)
def test_masks_that_cannot_be_written_are_refused(
    tmp_path: Path, masks: NDArray[np.bool_], name: str, message: str
) -> None:
    with pytest.raises(MaskError, match=message):
        write_masks(masks, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_place_in_use_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "folder.zip").mkdir()

    for name, message in (("full", "not empty"), ("folder.zip", "is a folder"), ("full/file", "is a file")):
        with pytest.raises(OutputError, match=message):
            check_mask_target(tmp_path / name)
