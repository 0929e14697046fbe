"""Untrusted zip archives: checked before anything is unpacked, and never unpacked beyond a limit."""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dreammotion_core.errors import InputError

MOST_ENTRIES = 100_000
_LONGEST_LIST = 2**24
_ENCRYPTED = 0x1
# bzip2 and LZMA unpack without a limit on what a few bytes may become.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What zipfile raises where bytes are wrong: at their place, in the compressed data, cut off, pointing outside
# of the file, naming a later version of the format; ValueError is a name that is no UTF-8, or numpy's own.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError)


class _Bounded(io.FileIO):
    """A file that refuses a long list of entries, which zipfile reads in one piece when it opens one."""

    is_opening = True

    def read(self, size: int | None = -1, /) -> bytes:
        if self.is_opening and size is not None and size > _LONGEST_LIST:
            raise zipfile.BadZipFile(f"its list of entries has {size:,} bytes")
        return super().read(-1 if size is None else size) or b""


@contextmanager
def opened_archive(
    path: Path, *, error: type[InputError], wanted: str, most_bytes: int
) -> Iterator[zipfile.ZipFile]:
    """Open an untrusted archive, and translate what goes wrong while reading it.

    `wanted` says what such an archive holds. Raises `error` if it is no zip archive, damaged, larger than
    `most_bytes`, encrypted, compressed in an unusual way, or if it has more than `MOST_ENTRIES` entries, or a
    name in it is unsafe (leads out of its folder) or occurs twice.
    """
    size = path.stat().st_size
    if size > most_bytes:
        raise error(f"{path.name} is larger than {most_bytes >> 20} MB; pack only {wanted}")
    try:
        with _Bounded(path) as file, zipfile.ZipFile(file) as archive:
            file.is_opening = False
            _check_entries(archive, path.name, error=error)
            yield archive
    except InputError:
        raise
    except _DAMAGE as problem:
        reason = str(problem) or "it ends too early"
        raise error(f"{path.name} cannot be read ({reason}); pack it again as an ordinary zip") from problem


def check_entry_size(
    archive: zipfile.ZipFile, name: str, *, limit: int, error: type[InputError], wanted: str, advice: str
) -> None:
    """Raise `error` if an entry declares more bytes than a limit, before it is unpacked.

    `wanted` is what the entry should hold, `advice` what to do.
    """
    declared = archive.getinfo(name).file_size
    if declared > limit:
        raise error(f"{name} unpacks to {declared:,} bytes, but {wanted} needs at most {limit:,}; {advice}")


def _check_entries(archive: zipfile.ZipFile, archive_name: str, *, error: type[InputError]) -> None:
    entries = archive.infolist()
    if len(entries) > MOST_ENTRIES:
        raise error(f"{archive_name} has {len(entries):,} entries; at most {MOST_ENTRIES:,} are accepted")
    seen: set[str] = set()
    for entry in entries:
        # What lies behind a zero byte would be hidden from the shortened name.
        name = entry.orig_filename
        if _is_unsafe(name) or stat.S_ISLNK(entry.external_attr >> 16):
            raise error(f"{archive_name} has the unsafe entry {name!r}; pack plain files in one folder")
        if name in seen:
            raise error(f"{archive_name} has two entries {name!r}; pack each file once")
        seen.add(name)
        if entry.flag_bits & _ENCRYPTED:
            raise error(f"{archive_name} is encrypted; pack it again without a password")
        if entry.compress_type not in _COMPRESSIONS:
            raise error(f"{archive_name} is compressed in an unusual way; pack it as an ordinary zip")


def _is_unsafe(name: str) -> bool:
    is_absolute = name.startswith("/") or name[1:2] == ":"
    return is_absolute or "\\" in name or "\0" in name or ".." in name.split("/")
