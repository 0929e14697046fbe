"""A file under a name of its own, so that it outlasts its first name."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path

from dreammotion_core import VideoError


class KeptFile:
    """A second name for a visitor's file, or a copy; it is removed with the last reference to this object.

    Gradio deletes uploads after an hour, whether they are open or not.

    Attributes:
        path: the second name, in a folder of its own.

    Args:
        original: the file.

    Raises:
        VideoError: if the file is gone or cannot be copied.
    """

    def __init__(self, original: Path) -> None:
        folder = Path(tempfile.mkdtemp(prefix="dreammotion-clip-"))
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.path = folder / original.name
        try:
            _link_or_copy(original, self.path)
        except OSError as error:
            self._remove()
            raise VideoError(f"{original.name} cannot be kept ({error.strerror}); send it again") from error


def _link_or_copy(original: Path, path: Path) -> None:
    try:
        os.link(original, path)
    except OSError:
        # Another disk, or one without links.
        shutil.copyfile(original, path)
