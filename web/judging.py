"""What measures results on this server: loaded once, when the first result is measured, for all visitors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from dreammotion_core import ClipJudge, DreamMotionError, Instruments
from web.budget import working_seconds


@dataclass(frozen=True, eq=False)
class AtHand:
    """What measures.

    Attributes:
        instruments: the judge, if there is one, and the tracker.
        judge_seconds: that the judge takes for a frame.
        problem: why there is no judge, in plain words; empty where there is one.
    """

    instruments: Instruments
    judge_seconds: float = 0.0
    problem: str = ""


class SharedInstruments:
    """The judge and the tracker. Safe to use from several threads.

    Args:
        load_judge: of words and frames; called until it succeeds once.
    """

    def __init__(self, load_judge: Callable[[], ClipJudge] = ClipJudge.from_pretrained) -> None:
        self._load_judge = load_judge
        self._complete: AtHand | None = None
        self._lock = threading.Lock()

    def get(self) -> AtHand:
        """What measures; without a judge where it cannot be loaded."""
        with self._lock:
            try:
                self._complete = self._complete or _timed(self._load_judge())
            except DreamMotionError as error:
                return AtHand(Instruments(), problem=f"Words and frames were not judged: {error}.")
            return self._complete


def _timed(judge: ClipJudge) -> AtHand:
    look = partial(judge.image_features, np.zeros((1, 224, 224, 3), np.uint8))
    # The first look also sets things up.
    look()
    return AtHand(Instruments(judge=judge), working_seconds(look))
