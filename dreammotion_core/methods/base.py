"""What a method of editing is: something that turns a task into better and better latents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

from dreammotion_core.method.prior import Backend
from dreammotion_core.method.editing import EditTask
from dreammotion_core.events import StepDone
from dreammotion_core.method.source_cache import SourceCache


class Method(Protocol):
    """Edits latents with any model family, step by step."""

    def __call__(
        self, backend: Backend, task: EditTask, *, source_cache: SourceCache | None = None
    ) -> Iterator[tuple[StepDone, Tensor]]:
        """Work on a task.

        Args:
            backend: the frozen video prior.
            task: what to do; ``task.config.num_optimization_steps`` is how many steps are made.
            source_cache: keeps answers about the source for other target prompts, where a method can use it.

        Yields:
            After every step, what happened and the clean latents (1, C, f, h, w) as they would be shown.

        Raises:
            NumericsError: if the latents leave the finite numbers.
        """
