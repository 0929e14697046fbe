"""One download at a time of each thing, and words for how far it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from segmentation import Download
from web.views import format_seconds

_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass
class OneAtATime:
    """Lets one visitor at a time download a thing; the others wait and see how far it is, as in `latest`."""

    latest: dict[str, Download] = field(default_factory=dict)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def lock(self, name: str) -> threading.Lock:
        """Held while a thing is downloaded or loaded."""
        with self._guard:
            return self._locks.setdefault(name, threading.Lock())

    def fetch(
        self, name: str, download: Callable[[], Generator[Download, None, None]]
    ) -> Generator[Download | None, None, None]:
        """Download a thing, or wait for the download under way; yields how far it is, None while unknown.

        Closing the iterator stops the download, or the waiting; then the one who waits longest begins anew.
        `download` gives nothing if the thing is here already.
        """
        lock = self.lock(name)
        while not lock.acquire(timeout=_SECONDS_BETWEEN_LOOKS):
            yield self.latest.get(name)
        try:
            with closing(download()) as steps:
                for progress in steps:
                    self.latest[name] = progress
                    yield progress
        finally:
            self.latest.pop(name, None)
            lock.release()


class ProgressWords:
    """Says how far a download has come, and how long it will still take."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._started: tuple[float, int] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether anything has been said."""
        return self._started is not None

    def view(self, progress: Download | None) -> dict[str, Any]:
        """Note and progress bar for the list."""
        if progress is None:
            return {"note": f"Waiting: {self._label} is being loaded for another visitor.", "progress": 0.0}
        done, total, now = progress.received_bytes, progress.total_bytes, time.monotonic()
        if not total:
            return {"note": f"Downloading {self._label}: {size_words(done)} so far.", "progress": 0.0}
        if self._started is None:
            self._started = now, done
        share = min(1.0, done / total)
        note = f"Downloading {self._label}: {size_words(done)} of {size_words(total)}."
        since, before = self._started
        if done > before and now - since > 1:
            note += f" About {format_seconds((now - since) * (total - done) / (done - before))} left."
        return {"note": f"{note} You can go on meanwhile.", "progress": share}


def size_words(size_bytes: int) -> str:
    """For example ``156 MB`` or ``2.6 GB``."""
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"
