"""Ctrl-C during a training: the step that runs is finished first."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Self


class Interruption:
    """Within its block a Ctrl-C is noted, so that weights and optimiser stay in step; a second one raises.

    Attributes:
        requested: whether Ctrl-C was pressed.
    """

    requested = False
    _handler_before: Any

    def __enter__(self) -> Self:
        self._handler_before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._handler_before)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
