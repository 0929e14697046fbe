"""What the page needs of the editing library, and a way to have it without waiting for weights."""

from __future__ import annotations

import threading
from collections.abc import Generator
from dataclasses import replace
from typing import Any, Protocol

from dreammotion_core import (
    DreamMotionPipeline,
    EditConfig,
    EditEvent,
    EditSource,
    LoadOptions,
    MemorySourceCache,
    ModelSpec,
    Preflight,
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


class LazyEditor:
    """An editor whose weights are loaded by the first edit, if its model is one of `list_models`.

    What the model answers to a source clip is kept in memory, so that a second edit of it costs less. Raises
    `ModelLoadError` if the model is none of the registry's and cannot be loaded.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str = "cpu",
        options: LoadOptions | None = None,
        max_frames: int | None = None,
    ) -> None:
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
                    self._model, options=self._options, device=self._device, source_cache=MemorySourceCache()
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
