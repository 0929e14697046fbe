"""Result files appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dreammotion_core.errors import OutputError


@contextmanager
def written_atomically(path: str | Path) -> Iterator[Path]:
    """Lend a temporary path in the folder of ``path``, and move it there once the block succeeds.

    Missing parent folders are created. On any error, also a cancelled run, the temporary file is
    removed and an older file at ``path`` stays as it was.

    Args:
        path: where the finished file is to appear; an older file is replaced.

    Yields:
        The path to write to. It keeps the suffix of ``path``, so that writers can tell the format.

    Raises:
        OutputError: if the folder cannot be written to, or the disk is full.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}-{uuid.uuid4().hex[:12]}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, target)
    except OutputError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(
            f"{target} could not be written ({reason}); free space or choose another place"
        ) from error
    finally:
        if temporary.exists():
            temporary.unlink()


def check_writable(path: str | Path) -> None:
    """Refuse early a place where no file could be written.

    Raises:
        OutputError: if it is a folder, or in a folder that may not be written to.
    """
    target = Path(path).absolute()
    if target.is_dir():
        raise OutputError(f"{target} is a folder; choose the name of a file")
    nearest = next(folder for folder in target.parents if folder.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
        raise OutputError(f"nothing can be written in {nearest}; choose another place for {target.name}")
