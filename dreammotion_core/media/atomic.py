"""Places on the disk: whether they can be read and written, and results that appear whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dreammotion_core.errors import DreamMotionError, OutputError

_LONGEST_NAME = 255  # Bytes of a file's name.
_LONGEST_SUFFIX = 16


@contextmanager
def written_atomically(path: str | Path) -> Iterator[Path]:
    """Lend a temporary path with the suffix of `path`, and move it there once the block succeeds.

    Missing folders are created, a link is followed, an older file is replaced. On any error, or when it is
    stopped, the temporary file is removed and an older file stays as it was. Raises `OutputError` if the
    folder cannot be written to, or the disk is full.
    """
    target = Path(os.path.realpath(path))
    suffix = target.suffix if len(target.suffix) <= _LONGEST_SUFFIX else ""
    temporary = target.with_name(f".dreammotion-{uuid.uuid4().hex[:12]}{suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, target)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"{target} could not be written ({_reason(error)}); free space or choose another place"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Try a place before anything is worked out that is to be written there.

    Raises `OutputError` if it is a folder, in a folder that cannot be written to, or its name is too long.
    """
    target = Path(os.path.realpath(path))
    long = next((part for part in target.parts if len(os.fsencode(part)) > _LONGEST_NAME), None)
    if long is not None:
        raise OutputError(
            f"the name {long[:20]}... has {len(os.fsencode(long))} bytes; at most {_LONGEST_NAME} are "
            "possible: choose a shorter one"
        )
    try:
        if target.is_dir():
            raise OutputError(f"{target} is a folder; choose the name of a file")
        nearest = next(folder for folder in target.parents if folder.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"nothing can be written in {target.parent} ({_reason(error)}); "
            f"choose another place for {target.name}"
        ) from error


def check_readable(path: Path, error: type[DreamMotionError], *, wanted: str) -> None:
    """Raise `error` if a path is no file or folder that can be opened; `wanted` says what to pass instead."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            path.open("rb").close()
        elif stat.S_ISDIR(mode):
            os.listdir(path)
    except FileNotFoundError as problem:
        raise error(f"there is no {path}; pass {wanted}") from problem
    except (OSError, ValueError) as problem:
        raise error(
            f"{path} cannot be opened ({_reason(problem)}); check its name and its permissions"
        ) from problem
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise error(f"{path} is a pipe or a device; pass {wanted}")


def keep_result(write: Callable[[Path], object], path: Path) -> str | None:
    """Write a finished result, elsewhere if its place cannot be written to any more.

    `write` gets a path that ends as `path` does. Returns a sentence that says where the result is instead;
    None if it is where it belongs. Raises `OutputError` if no place can be found.
    """
    try:
        write(path)
    except OutputError as error:
        for folder in (Path.cwd(), Path.home(), Path(tempfile.gettempdir())):
            with suppress(OSError):
                place = Path(tempfile.mkdtemp(prefix="dreammotion-", dir=folder)) / f"result{path.suffix}"
                write(place)
                return f"{error}. It is kept as {place}"
        raise
    return None


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
