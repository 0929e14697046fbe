"""Zip archives from strangers, and masks in them: PNG files, one a frame.

Nothing is ever unpacked to the disk. What an entry may unpack to is limited by what a mask of the clip
can need: an entry that declares more is refused unread, and no more than it declares is ever unpacked.
"""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from dreammotion_core.media.atomic import written_atomically
from dreammotion_core.errors import MaskError
from dreammotion_core.media.mask_levels import MaskLevels
from dreammotion_core.mask_names import MOST_NAMES_BYTES, NAMES_ENTRY, names_text, read_names
from dreammotion_core.mask_pictures import (
    is_clutter,
    mask_picture,
    stacked_pictures,
    stray_notices,
)
from dreammotion_core.mask_shapes import check_mask_shape
from dreammotion_core.mask_streams import MaskStream
from dreammotion_core.png_files import frame_order, picture_name

_MAX_ARCHIVE_BYTES = 2**30
_MAX_ENTRIES = 100_000
_ENTRY_SLACK_BYTES = 2**20
_ENCRYPTED = 0x1
# bzip2 and LZMA unpack without a limit on what a few bytes may become.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What zipfile raises where bytes are wrong: at their place, in the compressed data, cut off, pointing outside
# of the file, naming a later version of the format; ValueError is a name that is no UTF-8, or numpy's own.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError)


def read_mask_archive(path: Path, *, num_frames: int, size: tuple[int, int]) -> MaskLevels:
    """Read a zip of PNG files, one a frame.

    The PNG files may lie in one folder, however deep, with a file of their objects' names. Files of
    other kinds are left out, with a notice; what operating systems add (``__MACOSX``, ``.DS_Store``) is left
    out without one.

    Args:
        path: the archive.
        num_frames: frames F of the clip.
        size: (H, W) of the clip in pixels.

    Raises:
        MaskError: as `opened_archive` and `stacked_pictures`, or if count or folders of the files do not fit.
    """
    with opened_archive(path) as archive:
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
        files = ((name, io.BytesIO(read_entry(archive, name, limit=limit))) for name in pictures)
        sheet = str(PurePosixPath(folders[0]) / NAMES_ENTRY)
        called = _names_in(archive, sheet) if sheet in names else None
        strays = set(names) - set(pictures) - (set() if called is None else {sheet})
        levels = stacked_pictures(files, num_frames=num_frames, size=size, notices=stray_notices(strays))
        return replace(levels, names=called or {})


def write_mask_archive(masks: MaskStream, path: Path, *, names: Mapping[int, str]) -> None:
    """Write a zip of the files that `write_mask_folder` writes. Equal masks give equal archives.

    Args:
        masks: bool, or numbers of objects.
        path: an older file is replaced.
        names: of the objects, by number; none is fine.

    Raises:
        OutputError: if it cannot be written.
    """
    with written_atomically(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for index, mask in enumerate(masks):
            picture = io.BytesIO()
            mask_picture(mask).save(picture, format="PNG", compress_level=3)
            archive.writestr(zipfile.ZipInfo(picture_name(index)), picture.getvalue())
        if names:
            archive.writestr(zipfile.ZipInfo(NAMES_ENTRY), names_text(names))


@contextmanager
def opened_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive that nobody vouches for, and translate what goes wrong while reading it.

    Raises:
        MaskError: if it is no zip archive, damaged, too large, encrypted, compressed in an unusual way, or if
            a name in it is unsafe (leads out of its folder) or occurs twice.
    """
    if path.stat().st_size > _MAX_ARCHIVE_BYTES:
        raise MaskError(f"{path.name} is larger than {_MAX_ARCHIVE_BYTES >> 20} MB; pack only the masks")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(archive, path.name)
            yield archive
    except MaskError:
        raise
    except _DAMAGE as error:
        reason = str(error) or "it ends too early"
        raise MaskError(f"{path.name} cannot be read ({reason}); pack it again as an ordinary zip") from error


def read_entry(archive: zipfile.ZipFile, name: str, *, limit: int) -> bytes:
    """Unpack one entry into memory.

    Args:
        archive: from `opened_archive`.
        name: of the entry.
        limit: most bytes it may have.

    Raises:
        MaskError: as `check_entry_size`, with nothing unpacked. It cannot yield more than it declares.
    """
    check_entry_size(archive, name, limit=limit)
    with archive.open(name) as entry:
        return entry.read(limit)


def check_entry_size(archive: zipfile.ZipFile, name: str, *, limit: int) -> None:
    """Refuse an entry before it is unpacked.

    Args:
        archive: from `opened_archive`.
        name: of the entry.
        limit: most bytes it may have.

    Raises:
        MaskError: if it declares more.
    """
    declared = archive.getinfo(name).file_size
    if declared > limit:
        raise MaskError(
            f"{name} unpacks to {declared:,} bytes, but a mask of this clip needs at most {limit:,}; "
            "pack masks of the clip's own size"
        )


def _names_in(archive: zipfile.ZipFile, name: str) -> dict[int, str] | None:
    if archive.getinfo(name).file_size > MOST_NAMES_BYTES:
        return None
    return read_names(read_entry(archive, name, limit=MOST_NAMES_BYTES))


def _check_entries(archive: zipfile.ZipFile, archive_name: str) -> None:
    entries = archive.infolist()
    if len(entries) > _MAX_ENTRIES:
        raise MaskError(f"{archive_name} has {len(entries):,} entries; at most {_MAX_ENTRIES:,} are accepted")
    seen: set[str] = set()
    for entry in entries:
        # What lies behind a zero byte would be hidden from the shortened name.
        name = entry.orig_filename
        if _is_unsafe(name) or stat.S_ISLNK(entry.external_attr >> 16):
            raise MaskError(f"{archive_name} has the unsafe entry {name!r}; pack plain files in one folder")
        if name in seen:
            raise MaskError(f"{archive_name} has two entries {name!r}; pack each mask once")
        seen.add(name)
        if entry.flag_bits & _ENCRYPTED:
            raise MaskError(f"{archive_name} is encrypted; pack it again without a password")
        if entry.compress_type not in _COMPRESSIONS:
            raise MaskError(f"{archive_name} is compressed in an unusual way; pack it as an ordinary zip")


def _is_unsafe(name: str) -> bool:
    is_absolute = name.startswith("/") or name[1:2] == ":"
    return is_absolute or "\\" in name or "\0" in name or ".." in name.split("/")
