"""What the server remembers of each visitor, found by a token that nobody can guess.

Gradio's own session state is not enough: the canvas calls past it.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from segmentation import Segmenter
from web.clip import Clip
from web.editor import Editor
from web.runs import RunLog


class VisitorGoneError(Exception):
    """The state of the page is gone, after a long pause or a restart of the server."""


@dataclass(eq=False)
class Visitor:
    """One open page.

    Attributes:
        session_hash: the page's connection, which ends when the tab is closed.
        segmenter, editor: what was chosen; None until then.
        model_problem: why the model that was chosen is not the one that edits any more; empty where it is.
        proposal: values of the form that fit, where the latest measurement found that those in it do not.
        opening: held while a clip is opened, so that the one asked for last is the one that stays.
        stop: set to end the running job within one step.
        last_seen: monotonic seconds.
    """

    session_hash: str | None
    clip: Clip | None = None
    segmenter: Segmenter | None = None
    editor: Editor | None = None
    model_problem: str = ""
    proposal: Mapping[str, Any] | None = None
    runs: RunLog = field(default_factory=RunLog)
    opening: threading.RLock = field(default_factory=threading.RLock)
    stop: threading.Event = field(default_factory=threading.Event)
    last_seen: float = field(default_factory=time.monotonic)
    _jobs: int = 0

    @property
    def is_busy(self) -> bool:
        """Whether a job runs or waits for its turn."""
        return self._jobs > 0

    @contextmanager
    def job(self) -> Iterator[threading.Event]:
        """A fresh stop flag for a new job; a job that still runs is told to stop."""
        self.stop.set()
        self.stop = stop = threading.Event()
        self._jobs += 1
        try:
            yield stop
        finally:
            self._jobs -= 1


class VisitorStore:
    """All visitors of this server, thread-safe; forgotten `time_to_live` seconds after their last action."""

    def __init__(self, *, time_to_live: float = 3600.0) -> None:
        self.segmenter: Segmenter | None = None
        self._visitors: dict[str, Visitor] = {}
        self._lock = threading.Lock()
        self._time_to_live = time_to_live

    def __len__(self) -> int:
        return len(self._visitors)

    def admit(self, session_hash: str | None = None) -> str:
        """Add a visitor, and forget those who have been away too long."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._visitors[token] = Visitor(session_hash, segmenter=self.segmenter)
            expired = time.monotonic() - self._time_to_live
            stale = [other for other, visitor in self._visitors.items() if visitor.last_seen < expired]
        self._forget(stale)
        return token

    def get(self, token: object) -> Visitor:
        """The visitor behind a token; a `VisitorGoneError` if it is unknown or was dropped."""
        with self._lock:
            visitor = self._visitors.get(token) if isinstance(token, str) else None
            if visitor is None:
                raise VisitorGoneError("This page was idle for too long. Reload it to start again.")
            visitor.last_seen = time.monotonic()
            return visitor

    def leave(self, session_hash: str | None) -> None:
        """Stop and forget the visitors of a closed page."""
        with self._lock:
            gone = [
                token for token, visitor in self._visitors.items() if visitor.session_hash == session_hash
            ]
        self._forget(gone)

    def _forget(self, tokens: list[str]) -> None:
        for token in tokens:
            with self._lock:
                visitor = self._visitors.pop(token, None)
            if visitor is not None:
                visitor.stop.set()
