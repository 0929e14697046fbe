"""Gets the frame that a visitor looks at ready for a click, in the background.

Only a frame on which the visitor stays, so that playing a clip prepares nothing, and one frame at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

PAUSE = 0.25
"""Seconds that a visitor must stay on a frame; who has found what to click takes longer to get there."""


class FramePreparer:
    """Prepares what is looked at.

    Args:
        prepare: does the work for a 0-based frame number, on a thread of its own.
        pause: seconds without another frame after which it is called.
    """

    def __init__(self, prepare: Callable[[int], None], *, pause: float = PAUSE) -> None:
        self._prepare = prepare
        self._pause = pause
        self._guard, self._working = threading.Lock(), threading.Lock()
        self._wanted: int | None = None
        self._timer: threading.Timer | None = None

    def look_at(self, frame_index: int) -> None:
        """Take note of the frame that is shown; returns at once."""
        with self._guard:
            if frame_index == self._wanted:
                return
            if self._timer is not None:
                self._timer.cancel()
            self._wanted = frame_index
            self._timer = threading.Timer(self._pause, self._work, (frame_index,))
            self._timer.daemon = True
            self._timer.start()

    def _work(self, frame_index: int) -> None:
        # What fails here fails again with the click that needs it, where the visitor is told.
        with self._working, suppress(Exception):
            if frame_index == self._wanted:
                self._prepare(frame_index)
