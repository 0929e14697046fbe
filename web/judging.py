"""What measures results on this server: loaded once, when the first result is measured, for all visitors."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dreammotion_core import ClipJudge, DreamMotionError, Instruments


class SharedInstruments:
    """The judge and the tracker. Safe to use from several threads.

    Args:
        load_judge: of words and frames; called until it succeeds once.
    """

    def __init__(self, load_judge: Callable[[], ClipJudge] = ClipJudge.from_pretrained) -> None:
        self._load_judge = load_judge
        self._complete: Instruments | None = None
        self._lock = threading.Lock()

    def get(self) -> tuple[Instruments, str]:
        """What measures, and why there is no judge of words and frames among it; empty where there is one."""
        with self._lock:
            try:
                self._complete = self._complete or Instruments(judge=self._load_judge())
            except DreamMotionError as error:
                return Instruments(), f"Words and frames were not judged: {error}."
            return self._complete, ""
