"""Editing on Hugging Face Spaces: on a GPU of its own, if it works, or on one that is lent for a while."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any

import torch

from dreammotion_core import EditConfig, EditEvent, Preflight, Trial, Video
from web.editor import LazyEditor

# Chosen by us on the safe side: no such device has been at hand. Memory stands for the work of a model.
_SECONDS_OF_START = 30.0
_STEPS_OF_MEASURING = 20
_LEAST_SECONDS, _SECONDS_PER_GB = 0.002, 0.005
"""That a frame takes in a step: of any model, and for each GB that it needs."""
_UNKNOWN_BYTES = 14_000_000_000
"""What ZeroScope needs: for models that say neither what they need nor how large they are."""


def runs_on(device: str) -> bool:
    """Whether torch computes on a device; a GPU whose driver is too old for it is there and does not."""
    try:
        return bool(torch.ones(1, device=device).add(1).item() == 2)
    # A torch without CUDA asserts that it has it.
    except (RuntimeError, AssertionError):
        return False


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
