"""Untrusted mask files: PNG folders (grey, or a palette whose numbers are objects), zip, npz and video.

Nothing in a file is run or unpacked to the disk. An entry that declares more than a mask of the clip can need
is refused unread. H.264 moves a level by a few of 255: far from the middle, where the object begins.
"""

from __future__ import annotations

import colorsys
import io
import json
import re
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dreammotion_core.errors import MaskError, VideoError, reason_of
from dreammotion_core.media.archives import check_entry_size, opened_archive
from dreammotion_core.media.atomic import written_atomically
from dreammotion_core.media.decoding import Clip
from dreammotion_core.media.frames import frame_order, opened_png, over_black, picture_name, png_files
from dreammotion_core.media.limits import check_size
from dreammotion_core.media.mask_levels import MaskLevels, MaskStream
from dreammotion_core.media.video import write_h264
from dreammotion_core.values import Mask, Notice, check_mask_shape

# Names of the numbered objects, in the folder of the pictures.
NAMES_ENTRY = "objects.json"
MOST_NAMES_BYTES = 2**16
_MOST_CHARACTERS = 40


def names_text(names: Mapping[int, str]) -> str:
    """Names of objects by number as JSON, or raise `MaskError` if one could not be read again."""
    for number, name in names.items():
        if not _is_entry(str(number), name):
            raise MaskError(
                f"object {number} is called {name!r}; numbers are from 1 to 255, and names have up to "
                f"{_MOST_CHARACTERS} printable characters"
            )
    entries = {str(number): name for number, name in sorted(names.items())}
    return json.dumps(entries, ensure_ascii=False, indent=1) + "\n"


def read_names(content: bytes) -> dict[int, str] | None:
    """The inverse of `names_text`, of untrusted UTF-8; None where the content is something else."""
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entries, dict) or not all(_is_entry(*entry) for entry in entries.items()):
        return None
    return {int(number): name for number, name in entries.items()}


def _is_entry(number: str, name: Any) -> bool:
    is_number = number.isascii() and number.isdecimal() and len(number) <= 3 and 1 <= int(number) <= 255
    return is_number and isinstance(name, str) and name.isprintable() and 1 <= len(name) <= _MOST_CHARACTERS


_COLOUR_TOLERANCE = 16
_GOLDEN_RATIO = 0.618034
_NAMED_STRAYS = 3
_CLUTTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


def read_mask_folder(folder: Path, *, num_frames: int, size: tuple[int, int]) -> MaskLevels:
    """Read a folder of PNG files, one a frame, ordered by the numbers in their names.

    Other files are left out, with a notice. Raises `MaskError` as `stacked_pictures`, or if count or kinds of
    the files do not fit.
    """
    paths = png_files(folder, MaskError)
    check_mask_shape((len(paths), *size), num_frames=num_frames, size=size)
    strays = {path.name for path in folder.iterdir()} - {path.name for path in paths}
    pictures = ((path.name, path) for path in paths)
    return stacked_pictures(pictures, num_frames=num_frames, size=size, notices=stray_notices(strays))


def stacked_pictures(
    pictures: Iterable[tuple[str, Path | IO[bytes]]],
    *,
    num_frames: int,
    size: tuple[int, int],
    notices: tuple[Notice, ...] = (),
) -> MaskLevels:
    """Read `num_frames` named PNG files of (H, W) `size`; the size of each is checked before it is decoded.

    Raises `MaskError` if one is unreadable, of another size, coloured, or has more than 8 bits, or if only
    some have a palette.
    """
    values = np.empty((num_frames, *size), np.uint8)
    has_palette: bool | None = None
    is_transparent = False
    for index, (name, file) in enumerate(pictures):
        with opened_png(file, name=name, error=MaskError) as image:
            try:
                check_mask_shape((image.height, image.width), num_frames=num_frames, size=size)
            except MaskError as error:
                raise MaskError(f"{name}: {error}") from error
            if has_palette not in (None, image.mode == "P"):
                raise MaskError(
                    f"{name} and the pictures before it are of two kinds, grey and with a palette; "
                    "save all masks in one of them"
                )
            has_palette = image.mode == "P"
            if has_palette:
                values[index] = _numbers(image, name)
            else:
                is_transparent |= image.has_transparency_data
                values[index] = grey_levels(over_black(image), name=name)
    if is_transparent:
        notices = (*notices, Notice("alpha", "Transparent parts of the mask were laid over black."))
    return MaskLevels(values, are_objects=bool(has_palette), notices=notices)


def grey_levels(picture: NDArray[np.uint8], *, name: str) -> NDArray[np.uint8]:
    """The (H, W) uint8 brightness of an (H, W, 3) uint8 RGB picture, called `name` in messages.

    Raises `MaskError` if it has colours: their brightness would say nothing about what is selected.
    """
    red, green, blue = (picture[..., channel] for channel in range(3))
    # Several times as fast as asking for the range along the last axis.
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    if spread.max() > _COLOUR_TOLERANCE:
        raise MaskError(
            f"{name} has colours; pass masks in black and white, or several objects as PNG with a palette"
        )
    return green


def mask_picture(mask: NDArray[np.bool_] | NDArray[np.uint8]) -> Image.Image:
    """One mask as a picture: bool as grey 0 and 255, numbers of objects with a palette."""
    if mask.dtype == np.bool_:
        return Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
    picture = Image.fromarray(np.ascontiguousarray(mask))
    # Turns in the golden ratio keep the colours of neighbouring numbers far apart.
    colours = [colorsys.hsv_to_rgb(number * _GOLDEN_RATIO % 1, 0.75, 0.95) for number in range(1, 256)]
    picture.putpalette([0, 0, 0, *(round(255 * part) for colour in colours for part in colour)])
    return picture


def stray_notices(names: Iterable[str]) -> tuple[Notice, ...]:
    """Says what lay beside the masks and was left out, except for what operating systems leave behind."""
    strays = sorted(name for name in names if not is_clutter(name))
    if not strays:
        return ()
    named = ", ".join(strays[:_NAMED_STRAYS]) + (", ..." if len(strays) > _NAMED_STRAYS else "")
    return (Notice("stray_files", f"Only PNG files were read as masks; left out: {named}."),)


def is_clutter(name: str) -> bool:
    """Whether a file, named by its path with slashes, is what an operating system leaves behind."""
    parts = name.split("/")
    return "__MACOSX" in parts or parts[-1] in _CLUTTER or parts[-1].startswith("._")


def _numbers(image: Image.Image, name: str) -> NDArray[np.uint8]:
    numbers = np.asarray(image)
    colours = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
    used = np.flatnonzero(np.bincount(numbers.ravel(), minlength=1))
    others = used[(used > 0) & (used < len(colours))]
    # Some programs store black and white with a palette, white first: its numbers would select the rest.
    if others.size and (colours[0] == 255).all() and not colours[others].any():
        raise MaskError(
            f"{name} has a palette in which white is number 0, which means no object; save it as a grey PNG"
        )
    return numbers


_MAX_ARCHIVE_BYTES = 2**30
_ENTRY_SLACK_BYTES = 2**20
_opened_archive = partial(opened_archive, error=MaskError, wanted="the masks", most_bytes=_MAX_ARCHIVE_BYTES)
_check_entry_size = partial(
    check_entry_size,
    error=MaskError,
    wanted="a mask of this clip",
    advice="pack masks of the clip's own size",
)


def read_mask_archive(path: Path, *, num_frames: int, size: tuple[int, int]) -> MaskLevels:
    """Read a zip of PNG files, one a frame.

    The PNG files may lie in one folder, however deep, with a file of their objects' names. Other files are
    left out, with a notice unless operating systems add them (``__MACOSX``, ``.DS_Store``). Raises
    `MaskError` as `opened_archive` and `stacked_pictures`, or if count or folders of the files do not fit.
    """
    with _opened_archive(path) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        pictures = [name for name in names if name.lower().endswith(".png") and not is_clutter(name)]
        if not pictures:
            raise MaskError(f"{path.name} holds no PNG file; pack PNG files, one a frame")
        folders = sorted({str(PurePosixPath(name).parent) for name in pictures})
        if len(folders) > 1:
            raise MaskError(
                f"{path.name} holds PNG files in {len(folders)} folders ({folders[0]}, {folders[1]}, ...); "
                "pack those of one clip in one folder"
            )
        check_mask_shape((len(pictures), *size), num_frames=num_frames, size=size)
        # An RGBA picture that resists compression, with room for the text that programs add.
        limit = 5 * size[0] * (size[1] + 1) + _ENTRY_SLACK_BYTES
        pictures.sort(key=lambda name: frame_order(PurePosixPath(name).name))

        def content(name: str) -> IO[bytes]:
            _check_entry_size(archive, name, limit=limit)
            with archive.open(name) as entry:
                return io.BytesIO(entry.read(limit))

        files = ((name, content(name)) for name in pictures)
        sheet = str(PurePosixPath(folders[0]) / NAMES_ENTRY)
        has_names = sheet in names and archive.getinfo(sheet).file_size <= MOST_NAMES_BYTES
        called = read_names(archive.read(sheet)) if has_names else None
        strays = set(names) - set(pictures) - (set() if called is None else {sheet})
        levels = stacked_pictures(files, num_frames=num_frames, size=size, notices=stray_notices(strays))
        return replace(levels, names=called or {})


def write_mask_archive(masks: MaskStream, path: Path, *, names: Mapping[int, str]) -> None:
    """Write a zip of pictures, one a frame. Equal masks give equal archives.

    Raises `OutputError` if it cannot be written.
    """
    with written_atomically(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for index, mask in enumerate(masks):
            picture = io.BytesIO()
            mask_picture(mask).save(picture, format="PNG", compress_level=3)
            archive.writestr(zipfile.ZipInfo(picture_name(index)), picture.getvalue())
        if names:
            archive.writestr(zipfile.ZipInfo(NAMES_ENTRY), names_text(names))


class PackedLayers(Mapping[int, Mask]):
    """The masks of several objects, (F, H, W) bool by number; compressed until one is asked for.

    What a small file unpacks to may be many times its clip, and would not fit into memory. Layers are taken
    one after the other, the lowest first.
    """

    def __init__(self, layers: Iterable[tuple[int, Mask]]) -> None:
        self._size = (0, 0)
        self._frames: dict[int, list[bytes]] = {}
        for number, mask in layers:
            self._size = mask.shape[1:]
            self._frames[number] = [zlib.compress(np.packbits(frame).tobytes(), 1) for frame in mask]

    def __getitem__(self, number: int) -> Mask:
        frames = self._frames[number]
        mask = np.empty((len(frames), *self._size), np.bool_)
        for index, content in enumerate(frames):
            bits = np.frombuffer(zlib.decompress(content), np.uint8)
            mask[index] = np.unpackbits(bits, count=mask[index].size).reshape(self._size)
        return mask

    def __iter__(self) -> Iterator[int]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)


_OBJECT_KEY = re.compile(r"object_([1-9]\d{0,2})\.npy")
# Objects that are stored each alone: each has to be unpacked, however small the file is.
MOST_LAYERS = 32
_MAX_HEADER_BYTES = 10_000
# What numpy lets through where an array's description is none: it has Python parse it.
_NO_ARRAY = (LookupError, ValueError, TypeError, RecursionError, MemoryError, tokenize.TokenError)
_ADVICE = "save one (frames, height, width) array of bool, or of whole numbers from 0 to 255, one an object"


def read_mask_array(path: Path, *, num_frames: int, size: tuple[int, int]) -> MaskLevels:
    """Read an npz file. Type and shape are checked before the array is read.

    It holds one array, whatever its name: (F, H, W), or (H, W) for all frames; bool, or whole numbers of
    objects. Or one array for each object, ``object_N``, with 0 where it is not. Raises `MaskError` if it is
    damaged, holds another number of arrays, or its array does not fit.
    """
    with _opened_archive(path) as archive:
        names = archive.namelist()
        numbers = _layer_numbers(names, path.name)
        if numbers is None and (len(names) != 1 or not names[0].endswith(".npy")):
            held = ", ".join(name.removesuffix(".npy") for name in names[:8]) or "nothing"
            raise MaskError(f"{path.name} holds {held}, not one array; {_ADVICE}")
        read = partial(_array, archive, file_name=path.name, num_frames=num_frames, size=size)
        if numbers is None:
            return MaskLevels(read(names[0]), are_objects=True)
        by_number = sorted(zip(numbers, names, strict=True))
        layers = PackedLayers((number, read(name) > 0) for number, name in by_number)
    return MaskLevels(flattened(layers), are_objects=True, layers=layers)


def flattened(layers: Mapping[int, NDArray[np.bool_]]) -> NDArray[np.uint8]:
    """Numbers of objects, (F, H, W), 0 where none is; the last of several that claim a pixel has it."""
    labels = np.zeros(next(iter(layers.values())).shape, np.uint8)
    for number, mask in layers.items():
        labels[mask] = number
    return labels


def write_mask_arrays(masks: MaskStream | Mapping[int, NDArray[np.bool_]], path: Path) -> None:
    """Write one compressed array called ``masks``, or one for each object, so that they may overlap.

    Equal masks give equal files. Raises `MaskError` for more than `MOST_LAYERS` objects, and `OutputError` if
    the file cannot be written.
    """
    if isinstance(masks, MaskStream):
        arrays = {"masks": masks}
    else:
        arrays = {f"object_{number}": MaskStream.of(mask) for number, mask in masks.items()}
    if len(arrays) > MOST_LAYERS:
        raise MaskError(
            f"{len(arrays)} objects overlap, but an .npz file keeps at most {MOST_LAYERS} that do; "
            "export fewer at once"
        )
    with written_atomically(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, stream in arrays.items():
            description = np.lib.format.dtype_to_descr(stream.dtype)
            header = {"descr": description, "fortran_order": False, "shape": stream.shape}
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as entry:
                np.lib.format.write_array_header_1_0(entry, header)
                for mask in stream:
                    entry.write(np.ascontiguousarray(mask).tobytes())


def _layer_numbers(names: Sequence[str], file_name: str) -> list[int] | None:
    """None where the file does not hold an array for each object."""
    found = [_OBJECT_KEY.fullmatch(name) for name in names]
    if len(names) < 2 or not all(found):
        return None
    numbers = [int(match[1]) for match in found if match]
    if max(numbers) > 255 or len(numbers) > MOST_LAYERS:
        raise MaskError(
            f"{file_name} holds {len(numbers)} objects with numbers up to {max(numbers)}; at most "
            f"{MOST_LAYERS} that overlap and numbers up to 255 are accepted"
        )
    return numbers


def _array(
    archive: zipfile.ZipFile, name: str, *, file_name: str, num_frames: int, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """(F or 1, H, W); the size is checked before the array is read."""
    widest = np.dtype(np.uint64).itemsize
    _check_entry_size(archive, name, limit=_MAX_HEADER_BYTES + widest * num_frames * size[0] * size[1])
    with archive.open(name) as entry:
        try:
            array = np.load(entry, allow_pickle=False, max_header_size=_MAX_HEADER_BYTES)
        except _NO_ARRAY as error:
            if "Object arrays" in str(error):
                raise MaskError(
                    f"{file_name} holds Python objects, which are never loaded; {_ADVICE}"
                ) from error
            raise MaskError(
                f"{file_name} does not hold an array in numpy's format ({reason_of(error)}); {_ADVICE}"
            ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biu":
        raise MaskError(f"{file_name} holds {getattr(array, 'dtype', 'an archive')}; {_ADVICE}")
    check_mask_shape(array.shape, num_frames=num_frames, size=size)
    if array.min() < 0 or array.max() > 255:
        raise MaskError(f"{file_name} holds values from {array.min()} to {array.max()}; {_ADVICE}")
    return array.astype(np.uint8).reshape(-1, *size)


VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")
_OPTIONS = {"qp": "4", "preset": "medium"}
_CODING_NOISE = 32


def read_mask_video(path: Path, *, num_frames: int, size: tuple[int, int]) -> MaskLevels:
    """Read a video of masks, one a frame; its frame rate means nothing here.

    Odd sides of the clip may be even here, with one more row or column. Raises `MaskError` if it is no
    readable video, or its size, count or colours do not fit.
    """
    height, width = size
    values = np.empty((num_frames, height, width), np.uint8)
    try:
        clip = Clip(path)
        check_mask_shape((len(clip.slots), *size), num_frames=num_frames, size=size)
        count = 0
        for count, picture in enumerate(clip.stored_pictures(), start=1):
            if picture.shape[:2] not in (size, (height + height % 2, width + width % 2)):
                check_mask_shape(picture.shape[:2], num_frames=num_frames, size=size)
            levels = grey_levels(picture, name=f"frame {count - 1} of {path.name}")
            values[count - 1] = levels[:height, :width]
    except VideoError as error:
        raise MaskError(f"the mask cannot be read: {error}") from error
    if count < num_frames:
        raise MaskError(
            f"only {count} of the {num_frames} frames of {path.name} can be decoded; export it again"
        )
    return MaskLevels(values, are_objects=False, noise=_CODING_NOISE)


def write_mask_video(masks: MaskStream, path: Path, *, fps: float) -> None:
    """Write at least two bool masks as H.264 (yuv420p, High profile, index in front), white on black.

    Odd sides get their last row or column repeated once; `read_mask_video` takes it away again. Raises
    `MaskError` for numbers of objects, too few masks, and sizes that no video has; `OutputError` if the file
    cannot be written.
    """
    if masks.dtype != np.bool_:
        raise MaskError(
            "a video holds the mask of one object; write several objects to a folder, .zip or .npz"
        )
    if len(masks) < 2:
        raise MaskError("one mask is no video; write it to a folder, .zip or .npz")
    height, width = masks.size
    try:
        check_size(width, height)
    except VideoError as error:
        raise MaskError(f"these masks cannot be a video: {error}") from error
    pictures = (np.repeat(mask[..., None].astype(np.uint8) * np.uint8(255), 3, axis=2) for mask in masks)
    write_h264(pictures, path, size=masks.size, fps=fps, options=_OPTIONS)
