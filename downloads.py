"""One download in the background: how far it is, as a stream, and an end at any moment.

Models and segmenters share it. What they fetch, and the words for what fails, are their own.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SECONDS_BETWEEN_REPORTS = 0.3
_SECONDS_TO_END = 2.0


@dataclass(frozen=True)
class Download:
    """How far a download has come; the total is 0 until it is known."""

    received_bytes: int
    total_bytes: int


class CancelledError(Exception):
    """Nobody waits for the download any more."""


class Transfer:
    """A download under way, as the function that fetches sees it: `received` and `total` are in bytes."""

    def __init__(self) -> None:
        self.received, self.total = 0, 0
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """End the download: its next step raises `CancelledError`."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise `CancelledError` if nobody waits any more."""
        if self._cancelled.is_set():
            raise CancelledError

    def bar(self) -> Any:
        """A progress bar for libraries that shows nothing, counts bytes and ends a cancelled download."""
        from tqdm import tqdm

        transfer, before = self, self.received

        class CountingBar(tqdm):  # type: ignore[type-arg]
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **(options | {"disable": True}))
                # One bar counts files. Two count the same bytes, as they arrive and as they are written.
                self.counts_bytes = options.get("unit") == "B"

            def __bool__(self) -> bool:  # pooch asks, and tqdm says no while the total is unknown
                return True

            def update(self, n: float | None = 1) -> bool | None:
                transfer.check()
                self.n += n or 0
                if self.counts_bytes:
                    # pooch counts whole blocks.
                    count = int(min(self.n, self.total or self.n))
                    transfer.received = max(transfer.received, before + count)
                return None

        return CountingBar


def follow(fetch: Callable[[Transfer], None]) -> Generator[Download, None, None]:
    """Fetch in a thread, and yield a few times a second how far it is; raises what `fetch` raises.

    Closing the generator cancels the download. What `fetch` removes at its end is gone then, unless its
    server sends nothing: then it goes with the next answer, or when the time for one is over.
    """
    transfer, errors = Transfer(), list[Exception]()

    def run() -> None:
        try:
            fetch(transfer)
        except CancelledError:
            pass
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="download")
    thread.start()
    try:
        while thread.is_alive():
            yield Download(transfer.received, transfer.total)
            thread.join(_SECONDS_BETWEEN_REPORTS)
    finally:
        transfer.cancel()
        thread.join(_SECONDS_TO_END)
    if errors:
        raise errors[0]
    yield Download(transfer.received, transfer.total)


def check_room(folder: Path, num_bytes: int) -> None:
    """Raise `OSError` if the disk of a folder, which need not exist yet, has less free than that."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < num_bytes:
        raise OSError(f"it needs {_in_words(num_bytes)}, and {there} has {_in_words(free)} free")


def _in_words(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"
