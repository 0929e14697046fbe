"""What the page needs of the editing library, and a way to have it without waiting for weights."""

from __future__ import annotations

import threading
from collections.abc import Generator
from dataclasses import replace
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakSet

from dreammotion_core import (
    DreamMotionPipeline,
    EditConfig,
    EditEvent,
    EditSource,
    LoadOptions,
    MemorySourceCache,
    ModelSpec,
    Preflight,
    SourceCache,
    Trial,
    Video,
    list_models,
    measure_edit,
    shortest_length,
)


class Editor(EditSource, Protocol):
    """Runs edits, and measures them before. Closing a generator stops it, an edit within one step."""

    def measure(self, video: Video, *, config: EditConfig) -> Generator[Trial | Preflight, None, None]:
        """Measure an edit before it begins."""


class OwnedSourceCache(MemorySourceCache):
    """The answers of all models within one budget; those of an owner who has left go at once.

    `owner` is who holds the device, and so whom the next answers belong to; None keeps no account. Not for
    edits side by side.
    """

    def __init__(self, *, max_bytes: int) -> None:
        super().__init__(max_bytes=max_bytes)
        self.owner: object | None = None
        self._owned: WeakKeyDictionary[object, set[str]] = WeakKeyDictionary()
        self._gone: WeakSet[object] = WeakSet()

    def put(self, key: str, prediction: Any) -> None:
        """See `SourceCache`; nothing is kept for an owner who has left."""
        if self.owner is not None:
            if self.owner in self._gone:
                return
            self._owned.setdefault(self.owner, set()).add(key)
        super().put(key, prediction)

    def let_go(self, owner: object) -> None:
        """Forget the answers of an owner who has left."""
        self._gone.add(owner)
        self.forget(self._owned.pop(owner, ()))


class LazyEditor:
    """An editor whose weights are loaded by the first edit, if its model is one of `list_models`.

    What the model answers to a source clip is kept in `source_cache`, by default one of its own, so that a
    second edit of it costs less. Raises `ModelLoadError` if the model is none of the registry's and cannot be
    loaded.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str = "cpu",
        options: LoadOptions | None = None,
        max_frames: int | None = None,
        source_cache: SourceCache | None = None,
    ) -> None:
        self._cache = source_cache or MemorySourceCache()
        self._model = model
        self._device = device
        self._options = options
        self._pipeline: DreamMotionPipeline | None = None
        self._lock = threading.Lock()
        known = next((spec for spec in list_models() if spec.name == model), None)
        self.spec = shortened(known or self.pipeline().spec, max_frames)

    def stream(self, video: Video, **asked: Any) -> Generator[EditEvent, None, None]:
        """Run one edit, as `EditSource.stream`, after loading the weights if nobody did before."""
        yield from self.pipeline().stream(video, **asked)

    def measure(self, video: Video, *, config: EditConfig) -> Generator[Trial | Preflight, None, None]:
        """Measure an edit, after loading the weights if nobody did before."""
        yield from measure_edit(self.pipeline(), video=video, config=config)

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._pipeline is not None

    def pipeline(self) -> DreamMotionPipeline:
        """The loaded pipeline."""
        with self._lock:
            if self._pipeline is None:
                self._pipeline = DreamMotionPipeline.from_pretrained(
                    self._model, options=self._options, device=self._device, source_cache=self._cache
                )
            return self._pipeline

    def unload(self) -> None:
        """Let the weights go; the next edit loads them again."""
        with self._lock:
            self._pipeline = None


def shortened(spec: ModelSpec, max_frames: int | None) -> ModelSpec:
    """A model that edits at most so many frames at once, but not fewer than it must."""
    if max_frames is None or spec.max_frames <= max_frames:
        return spec
    most = max(shortest_length(spec), spec.fit_length(max_frames))
    return replace(spec, max_frames=most, num_frames=min(spec.num_frames, most))
