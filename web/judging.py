"""What measures results on this server: loaded once, when first asked for, for all visitors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dreammotion_core import (
    EMBEDDED_JUDGE,
    ClipJudge,
    ConfigError,
    DreamMotionError,
    Instruments,
    judge_name,
)
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
    """The judges that visitors can choose from, and the tracker. Safe to use from several threads.

    Args:
        judges: of words and frames, as `ClipJudge.from_pretrained` takes them, the first for newcomers. The
            embedded one can be chosen in any case.
        load: loads one; called until it succeeds once for each.

    Raises:
        ModelLoadError: if there cannot be such a judge.
        ConfigError: if two have the same name, so that their figures could not be told apart.
    """

    def __init__(
        self, judges: Sequence[str] = (), *, load: Callable[[str], ClipJudge] = ClipJudge.from_pretrained
    ) -> None:
        self._load = load
        self._given: dict[str, str] = {}
        for given in dict.fromkeys((*judges, EMBEDDED_JUDGE)):
            name = judge_name(given)
            if name in self._given:
                raise ConfigError(f"two judges are called {name!r}; rename the folder of one")
            self._given[name] = given
        self._complete: dict[str, AtHand] = {}
        self._locks = {name: threading.Lock() for name in self._given}

    @property
    def judges(self) -> list[str]:
        """Names of the judges, that of newcomers first."""
        return list(self._given)

    def is_loaded(self, judge: str) -> bool:
        """Whether `get` is quick."""
        return judge in self._complete

    def check(self, judge: Any) -> str:
        """A choice out of whatever the browser sent; None takes the first.

        Raises:
            ConfigError: if there is no such judge.
        """
        chosen = self.judges[0] if judge is None else judge
        if chosen not in self.judges:
            raise ConfigError(f"there is no judge {judge!r}; choose one of: {', '.join(self.judges)}")
        return str(chosen)

    def get(self, judge: str) -> AtHand:
        """What measures; without a judge where it cannot be loaded."""
        with self._locks[judge]:
            try:
                if judge not in self._complete:
                    self._complete[judge] = _timed(self._load(self._given[judge]))
            except DreamMotionError as error:
                return AtHand(Instruments(), problem=f"Words and frames were not judged: {error}.")
            return self._complete[judge]


def _timed(judge: ClipJudge) -> AtHand:
    look = partial(judge.image_features, np.zeros((1, 224, 224, 3), np.uint8))
    # The first look also sets things up.
    look()
    return AtHand(Instruments(judge=judge), working_seconds(look))
