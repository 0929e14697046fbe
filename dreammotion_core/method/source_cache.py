"""Bounded stores of what the source branch answered, in memory or on disk.

What an answer's key stands for is `source_branch`'s business.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from dreammotion_core.media.atomic import written_atomically
from dreammotion_core.errors import OutputError

logger = logging.getLogger(__name__)

MEMORY_LIMIT = 4 * 2**30
DISK_LIMIT = 32 * 2**30


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one branch answers in one step.

    Attributes:
        noise_pred: (1, C, f, h, w) guided prediction.
        keys: site name -> (1, f, N, C) keys of its conditional half.
    """

    noise_pred: Tensor
    keys: Mapping[str, Tensor]

    def kept_at(self, device: torch.device | str) -> Prediction:
        """Itself without a graph, contiguous and on a device."""
        keys = {site: keys.detach().to(device).contiguous() for site, keys in self.keys.items()}
        return Prediction(self.noise_pred.detach().to(device).contiguous(), keys)

    @property
    def num_bytes(self) -> int:
        """Memory that it holds."""
        return sum(t.untyped_storage().nbytes() for t in (self.noise_pred, *self.keys.values()))


class SourceCache(Protocol):
    """Keeps answers of the source branch for later runs on the same clip, seed and settings."""

    def begin_run(self) -> None:
        """Say that a run starts. No run evicts its own answers: it would find none of them next time."""

    def get(self, key: str) -> Prediction | None:
        """The answer that was put under a key, if it is still there."""

    def put(self, key: str, prediction: Prediction) -> None:
        """Keep an answer, if there is room for it."""


def evicted(
    sizes: Iterable[tuple[str, int]], *, needed: int, protected: set[str], max_bytes: int
) -> list[str] | None:
    """Which entries have to go so that another one fits.

    Args:
        sizes: key and size of each entry, the least recently used first.
        needed: bytes of the new entry.
        protected: keys that must stay.
        max_bytes: bytes that all may take.

    Returns:
        Their keys; None if it does not fit even without all that may go.
    """
    entries = list(sizes)
    excess = sum(size for _, size in entries) + needed - max_bytes
    going = []
    for key, size in entries:
        if excess <= 0:
            break
        if key not in protected:
            going.append(key)
            excess -= size
    return going if excess <= 0 else None


class MemorySourceCache:
    """Answers in memory, the least recently used run leaving first.

    Args:
        max_bytes: memory that all answers may take together. One step of a large U-Net takes about
            10 MB a frame; what does not fit is computed again.
        device: where to keep them; the machine's own memory, or the GPU's where it is plentiful.
    """

    def __init__(self, *, max_bytes: int = MEMORY_LIMIT, device: torch.device | str = "cpu") -> None:
        self._max_bytes, self._device = max_bytes, device
        self._entries: dict[str, Prediction] = {}
        self._used: set[str] = set()
        self._lock = threading.Lock()

    def begin_run(self) -> None:
        """See `SourceCache`."""
        with self._lock:
            self._used.clear()

    def get(self, key: str) -> Prediction | None:
        """See `SourceCache`."""
        with self._lock:
            found = self._entries.pop(key, None)
            if found is not None:
                self._entries[key] = found  # at the end: the most recently used
                self._used.add(key)
            return found

    def put(self, key: str, prediction: Prediction) -> None:
        """See `SourceCache`."""
        kept = prediction.kept_at(self._device)
        with self._lock:
            sizes = [(name, entry.num_bytes) for name, entry in self._entries.items()]
            going = evicted(sizes, needed=kept.num_bytes, protected=self._used, max_bytes=self._max_bytes)
            if going is None:
                return
            for name in going:
                del self._entries[name]
            self._entries[key] = kept
            self._used.add(key)

    @property
    def num_bytes(self) -> int:
        """Memory that all answers take."""
        with self._lock:
            return sum(entry.num_bytes for entry in self._entries.values())


class DiskSourceCache:
    """Answers in a folder, one safetensors file each, which later processes find again.

    A damaged file counts as absent. Where the disk is full or the folder may only be read, the run goes on
    without keeping more. Several processes may share a folder.

    Args:
        folder: made if it is missing; holds nothing else.
        max_bytes: space that all files may take together.
    """

    def __init__(self, folder: str | Path, *, max_bytes: int = DISK_LIMIT) -> None:
        self._folder, self._max_bytes = Path(folder), max_bytes
        self._used: set[str] = set()

    def begin_run(self) -> None:
        """See `SourceCache`."""
        self._used.clear()

    def get(self, key: str) -> Prediction | None:
        """See `SourceCache`."""
        path = self._path(key)
        try:
            tensors = load_file(path)
            noise_pred = tensors.pop("noise_pred")
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, KeyError) as error:
            logger.warning("%s is damaged and will be made again (%s)", path, error)
            _remove(path)
            return None
        with suppress(OSError):  # another process may have evicted it, or the folder may only be read
            os.utime(path)  # says when it was used last
        self._used.add(key)
        return Prediction(noise_pred, {site.removeprefix("keys."): keys for site, keys in tensors.items()})

    def put(self, key: str, prediction: Prediction) -> None:
        """See `SourceCache`."""
        kept = prediction.kept_at("cpu")
        content = save({"noise_pred": kept.noise_pred} | {f"keys.{site}": k for site, k in kept.keys.items()})
        going = evicted(self._sizes(), needed=len(content), protected=self._used, max_bytes=self._max_bytes)
        if going is None:
            return
        for name in going:
            _remove(self._path(name))
        try:
            with written_atomically(self._path(key)) as part:
                part.write_bytes(content)
        except OutputError as error:
            logger.warning("an answer of the source branch was not kept: %s", error)
            return
        self._used.add(key)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"

    def _sizes(self) -> list[tuple[str, int]]:
        """Key and size of each file, the least recently used first."""
        found = []
        for file in self._folder.glob("*.safetensors"):
            with suppress(FileNotFoundError):  # another process may evict meanwhile
                facts = file.stat()
                found.append((facts.st_mtime_ns, file.stem, facts.st_size))
        return [(key, size) for _, key, size in sorted(found)]


def _remove(path: Path) -> None:
    """Remove a file, if it is there and may be removed."""
    with suppress(OSError):
        path.unlink()
