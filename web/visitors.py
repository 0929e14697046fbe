"""What the server remembers of each visitor, found by a token that nobody can guess, and what all may hold.

Gradio's own session state is not enough: the canvas calls past it. Who idles longest makes room for others;
who is busy is never forgotten.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dreammotion_core import DreamMotionError
from segmentation import Segmenter
from web.clip import Clip
from web.editor import Editor
from web.runs import RunLog


class VisitorGoneError(Exception):
    """The state of the page is gone, after a long pause or a restart of the server."""


class LimitError(DreamMotionError):
    """A limit of this page is reached. The message says which, how much is used, and what frees it."""


@dataclass(frozen=True)
class Limits:
    """What may be asked for and held at once; None does not limit. Enforced as docs/security.md says.

    Attributes:
        max_steps: of an edit.
        max_side: pixels of the longer side of a clip.
        max_megapixels: millions of pixels of all frames of a clip.
        max_minutes: that an edit may hold the device for.
        max_queue, max_jobs: long jobs that wait or run, of all and of an address.
        max_pages, max_pages_each: open pages, of all and of an address.
        max_memory: MB of the frames of all open clips.
        max_uploads: MB that an address may upload in an hour.
        max_disk: MB of all uploads, results and long clips.
    """

    max_steps: int | None = None
    max_side: int | None = None
    max_megapixels: int | None = None
    max_minutes: int | None = None
    max_queue: int = 32
    max_jobs: int | None = None
    max_pages: int | None = None
    max_pages_each: int | None = None
    max_memory: int | None = None
    max_uploads: int | None = None
    max_disk: int | None = None

    def check_size(self, *, width: int, height: int, num_frames: int) -> None:
        """Raise `LimitError` if so many frames of a clip are too large to open."""
        if self.max_side is not None and max(width, height) > self.max_side:
            raise LimitError(
                f"the clip is {width}x{height}, and this page takes at most {self.max_side} pixels a side; "
                "scale it down first"
            )
        pixels = width * height * num_frames / 1e6
        if self.max_megapixels is not None and pixels > self.max_megapixels:
            raise LimitError(
                f"{num_frames} frames of {width}x{height} are {pixels:,.0f} million pixels, and this page "
                f"takes at most {self.max_megapixels:,}; choose fewer frames, or scale the clip down first"
            )

    def check_minutes(self, seconds: float) -> None:
        """Raise `LimitError` if an edit has held the device for too long."""
        if self.max_minutes is not None and seconds > 60 * self.max_minutes:
            raise LimitError(
                f"an edit may hold the device for {self.max_minutes} minutes here, and they are over; "
                "choose fewer steps, fewer frames or a smaller model"
            )


NO_LIMITS = Limits()


@dataclass(eq=False)
class Visitor:
    """One open page.

    Attributes:
        session_hash: the page's connection, which ends when the tab is closed.
        address: where its requests come from.
        segmenter, editor: what was chosen; None until then.
        model_problem: why the model that was chosen is not the one that edits any more; empty where it is.
        proposal: values of the form that fit, where the latest measurement found that those in it do not.
        opening: held while a clip is opened, so that the one asked for last is the one that stays.
        stop: set to end the running job within one step.
        last_seen: monotonic seconds.
    """

    session_hash: str | None
    address: str = ""
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

    @property
    def has_begun(self) -> bool:
        """Whether there is something to lose: a clip of their own, a selection or a run."""
        clip = self.clip
        return bool(self.runs.rows) or (clip is not None and bool(clip.kept or clip.history.past))

    @property
    def frames_bytes(self) -> tuple[int, int]:
        """Bytes of the open clip's frames in memory and, of a long clip, on the disk."""
        if self.clip is None:
            return 0, 0
        frames = self.clip.video.frames
        return (0, frames.nbytes) if isinstance(frames, np.memmap) else (frames.nbytes, 0)


QUIET_SECONDS = 300.0  # Without a word or connection, after which a page that is not busy is closed.
UPLOAD_SECONDS = 3600.0  # For which Gradio keeps uploads and results.
ROOM_LEFT = 10**9  # Bytes of the disk that stay free.
_LOOK_SECONDS = 2.0  # For which the size of the folder of uploads is believed.


class VisitorStore:
    """All visitors of this server, thread-safe; forgotten `time_to_live` seconds after their last action.

    `on_leave` is called with each visitor who is forgotten. `uploads` is where Gradio keeps uploads and
    results; None where it keeps none.
    """

    def __init__(
        self,
        *,
        time_to_live: float = 3600.0,
        limits: Limits = NO_LIMITS,
        on_leave: Callable[[Visitor], None] = lambda _: None,
        uploads: Path | None = None,
    ) -> None:
        self.segmenter: Segmenter | None = None
        self.limits = limits
        self._visitors: dict[str, Visitor] = {}
        self._lock = threading.RLock()
        self._time_to_live = time_to_live
        self._on_leave = on_leave
        self._uploads = uploads
        self._uploaded: deque[tuple[float, str, int]] = deque()
        self._looked: tuple[float, int] = (-_LOOK_SECONDS, 0)

    def __len__(self) -> int:
        return len(self._visitors)

    def admit(self, session_hash: str | None = None, address: str = "") -> str:
        """Add a visitor; the same page's former one, and those who have been away too long, are forgotten.

        Where there are too many pages, the one that idles longest is closed, first those on which nothing was
        done. Raises `LimitError` if all are busy.
        """
        token, limits = secrets.token_urlsafe(16), self.limits
        with self._lock:
            expired = time.monotonic() - self._time_to_live
            again = session_hash is not None and bool(address)
            self._forget(
                other
                for other, visitor in self._visitors.items()
                if (visitor.last_seen < expired and not visitor.is_busy)
                or (again and visitor.session_hash == session_hash)
            )
            for most, where in ((limits.max_pages_each, address), (limits.max_pages, None)):
                pages = {
                    other: visitor
                    for other, visitor in self._visitors.items()
                    if where in (None, visitor.address)
                }
                if most is not None and len(pages) >= most and not self._close_idle(pages):
                    whose = "" if where is None else " from your address"
                    raise LimitError(
                        f"{len(pages)} pages{whose} are open and busy, and {most} may be; close one, or wait "
                        "until its job is over"
                    )
            self._visitors[token] = Visitor(session_hash, address, segmenter=self.segmenter)
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
            self._forget(
                token for token, visitor in self._visitors.items() if visitor.session_hash == session_hash
            )

    def close_quiet(self, is_heard: Callable[[str], bool]) -> None:
        """Forget idle pages without a connection; `is_heard` says whether a session has one."""
        quiet = time.monotonic() - QUIET_SECONDS
        with self._lock:
            self._forget(
                token
                for token, visitor in self._visitors.items()
                if visitor.last_seen < quiet
                and not visitor.is_busy
                and visitor.session_hash is not None
                and not is_heard(visitor.session_hash)
            )

    def make_room(self, visitor: Visitor, num_bytes: int, *, on_disk: bool) -> None:
        """Let a visitor open frames of so many bytes; who idles longest makes room.

        The clip that the visitor has open does not count, as it goes. Raises `LimitError` without room.
        """
        most = self.limits.max_disk if on_disk else self.limits.max_memory
        if most is None:
            return
        with self._lock:
            while (used := self._frames_bytes(on_disk, but=visitor)) + num_bytes > most * 10**6:
                holders = {
                    token: each
                    for token, each in self._visitors.items()
                    if each is not visitor and each.frames_bytes[on_disk]
                }
                if not self._close_idle(holders):
                    place = "disk" if on_disk else "memory"
                    raise LimitError(
                        f"the clip takes {num_bytes / 1e6:,.0f} MB of {place}, and all open clips together "
                        f"may take {most:,}, of which {used / 1e6:,.0f} are used; try again when another "
                        "visitor has left, or open fewer or smaller frames"
                    )

    def check_upload(self, address: str, num_bytes: int) -> None:
        """Raise `LimitError` if an upload is too much for an address or for the disk; else remember it."""
        limits, now = self.limits, time.monotonic()
        with self._lock:
            while self._uploaded and self._uploaded[0][0] < now - UPLOAD_SECONDS:
                self._uploaded.popleft()
            own = sum(size for _, sender, size in self._uploaded if sender == address)
            _refuse_beyond(limits.max_uploads, own, num_bytes, "uploads from your address in an hour")
            used = self._folder_bytes() + self._frames_bytes(on_disk=True)
            used += sum(size for at, _, size in self._uploaded if at > self._looked[0])
            _refuse_beyond(
                limits.max_disk, used, num_bytes, "uploads, results and long clips of all visitors"
            )
            folder = self._uploads if self._uploads and self._uploads.exists() else tempfile.gettempdir()
            free = shutil.disk_usage(folder).free - num_bytes
            if free < ROOM_LEFT:
                raise LimitError(
                    f"the disk of the server is nearly full: {max(0, free) / 1e6:,.0f} MB would be left, and "
                    f"{ROOM_LEFT / 1e6:,.0f} are kept free; try again in an hour"
                )
            self._uploaded.append((now, address, num_bytes))

    def _frames_bytes(self, on_disk: bool, but: Visitor | None = None) -> int:
        return sum(each.frames_bytes[on_disk] for each in self._visitors.values() if each is not but)

    def _folder_bytes(self) -> int:
        now = time.monotonic()
        if self._uploads is not None and now - self._looked[0] > _LOOK_SECONDS:
            size = 0
            for file in self._uploads.rglob("*"):
                # Gradio deletes old ones meanwhile.
                with suppress(OSError):
                    size += file.stat().st_size
            self._looked = now, size
        return self._looked[1]

    def _close_idle(self, pages: Mapping[str, Visitor]) -> bool:
        """Forget the page that idles longest, unused ones first; False if all are busy."""
        idle = [(each.has_begun, each.last_seen, token) for token, each in pages.items() if not each.is_busy]
        self._forget([min(idle)[2]] if idle else [])
        return bool(idle)

    def _forget(self, tokens: Iterable[str]) -> None:
        for token in list(tokens):
            visitor = self._visitors.pop(token)
            visitor.stop.set()
            self._on_leave(visitor)


def _refuse_beyond(most: int | None, used: int, more: int, what: str) -> None:
    if most is not None and used + more > most * 10**6:
        raise LimitError(
            f"{what} may take {most:,} MB, and {used / 1e6:,.0f} are used, so {more / 1e6:,.0f} more do not "
            "fit; files go an hour after they came"
        )
