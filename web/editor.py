"""What the page needs of the editing library, and a way to have it without waiting for weights.

Editing on Hugging Face Spaces: on a GPU of its own, if it works, or on one that is lent for a while.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dreammotion_core import (
    DreamMotionPipeline,
    EditConfig,
    EditEvent,
    EditSource,
    LoadOptions,
    MemorySourceCache,
    Preflight,
    Trial,
    Video,
    list_models,
    measure_edit,
)


class Editor(EditSource, Protocol):
    """Runs edits, and measures them before. Closing a generator stops it, an edit within one step."""

    def measure(self, video: Video, *, config: EditConfig) -> Generator[Trial | Preflight, None, None]:
        """Measure an edit before it begins."""
        ...


class LazyEditor:
    """An editor whose weights are loaded by the first edit, if its model is one of `list_models`.

    What the model answers to a source clip is kept in memory, so that a second edit of it costs less.

    Args:
        model: name, hub id or folder, as `DreamMotionPipeline.from_pretrained` takes it.
        device: torch name of the device.
        options: how it is loaded.

    Raises:
        ModelLoadError: if the model is none of the registry's and cannot be loaded.
    """

    def __init__(self, model: str, *, device: str = "cpu", options: LoadOptions | None = None) -> None:
        self._model = model
        self._device = device
        self._options = options
        self._pipeline: DreamMotionPipeline | None = None
        self._lock = threading.Lock()
        known = next((spec for spec in list_models() if spec.name == model), None)
        self.spec = known or self.pipeline().spec

    def stream(
        self,
        video: Video,
        *,
        source_prompt: str,
        target_prompt: str,
        mask: NDArray[np.bool_] | None,
        config: EditConfig,
    ) -> Generator[EditEvent, None, None]:
        """Run one edit, after loading the weights if nobody did before."""
        yield from self.pipeline().stream(
            video, source_prompt=source_prompt, target_prompt=target_prompt, mask=mask, config=config
        )

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
                    self._model,
                    options=self._options,
                    device=self._device,
                    source_cache=MemorySourceCache(),
                )
            return self._pipeline

    def unload(self) -> None:
        """Let the weights go; the next edit loads them again."""
        with self._lock:
            self._pipeline = None


# Chosen by us on the safe side: no such device has been at hand. Memory stands for the work of a model.
_SECONDS_OF_START = 30.0
_STEPS_OF_MEASURING = 20
_LEAST_SECONDS, _SECONDS_PER_GB = 0.002, 0.005
"""That a frame takes in a step: of any model, and for each GB that it needs."""
_UNKNOWN_BYTES = 14_000_000_000
"""What ZeroScope needs: for models that say neither what they need nor how large they are."""


Lend = Callable[..., Callable[..., Any]]
"""``spaces.GPU``: decorates work, given as ``duration`` a function of what the work is called with."""


class HostedEditor:
    """An editor that borrows a device for each edit, for as long as its steps and frames are likely to take.

    An ablation is several edits and borrows for each; what is measured of them needs no device.

    Args:
        editor: does the work. Its weights must be loaded, because the work runs in a forked process.
        lend: lends the device.
    """

    def __init__(self, editor: LazyEditor, *, lend: Lend) -> None:
        self.spec = editor.spec
        self.stream: Callable[..., Generator[EditEvent, None, None]] = lend(duration=self.edit_seconds)(
            editor.stream
        )
        self.measure: Callable[..., Generator[Trial | Preflight, None, None]] = lend(
            duration=self.measure_seconds
        )(editor.measure)

    def edit_seconds(self, video: Video, *, config: EditConfig, **_: Any) -> int:
        """For how long an edit borrows the device, in whole seconds."""
        return self._seconds(len(video) * config.num_optimization_steps)

    def measure_seconds(self, video: Video, *, config: EditConfig) -> int:
        """For how long the measurement before an edit does."""
        del config
        return self._seconds(len(video) * _STEPS_OF_MEASURING)

    def _seconds(self, num_frames: int) -> int:
        need = self.spec.memory_bytes or 2 * self.spec.size_bytes or _UNKNOWN_BYTES
        a_frame = _LEAST_SECONDS + _SECONDS_PER_GB * need / 1e9
        return math.ceil(_SECONDS_OF_START + num_frames * a_frame)
