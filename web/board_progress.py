"""What is known of a running ablation."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from dreammotion_core import (
    ABLATION,
    VARIANTS,
    Started,
    StepDone,
    Variant,
    VariantEvent,
    VariantResult,
)
from web.views import format_seconds

_SECONDS_BETWEEN_UPDATES = 0.3


@dataclass
class BoardProgress:
    """The variants, how far each is, and what came of those that are finished.

    Attributes:
        variants: in the order in which they run.
        results: of the finished ones.
        is_over: whether nothing runs any more.
        problem: why some figures are missing, in plain words; empty where none is.
    """

    variants: tuple[Variant, ...] = tuple(VARIANTS[name] for name in ABLATION)
    results: list[VariantResult] = field(default_factory=list)
    is_over: bool = False
    problem: str = ""
    _step: int = 0
    _num_steps: int = 0
    _begun: float = 0.0
    _told: float = 0.0

    def accept(self, event: VariantEvent | VariantResult) -> bool:
        """Take note of an event. True if a variant is finished by it."""
        if isinstance(event, VariantResult):
            self.results.append(event)
            self._step = self._num_steps = 0
            return True
        match event.event:
            case Started():
                self._num_steps, self._begun = event.event.num_steps, time.monotonic()
            case StepDone():
                self._step = event.event.step
        return False

    def is_due(self) -> bool:
        """Whether the latest words are old enough to be replaced."""
        if time.monotonic() - self._told < _SECONDS_BETWEEN_UPDATES:
            return False
        self._told = time.monotonic()
        return True

    def end(self) -> None:
        """Nothing runs any more."""
        self.is_over = True

    def share(self, index: int) -> float:
        """How much of a variant is done, from 0 to 1."""
        if index != len(self.results):
            return float(index < len(self.results))
        return self._step / self._num_steps if self._num_steps and not self.is_over else 0.0

    def words(self, index: int) -> str:
        """How far a variant is, in plain words."""
        if index < len(self.results):
            return f"done in {format_seconds(self.results[index].output.seconds)}"
        if self.is_over:
            return "left out"
        if index > len(self.results):
            return "waiting"
        if not self._num_steps:
            return "next"
        if self._step == self._num_steps:
            return "finishing and measuring"
        if not self._step:
            return "starting"
        rest = (time.monotonic() - self._begun) / self._step * (self._num_steps - self._step)
        return f"step {self._step} of {self._num_steps}, about {format_seconds(rest)} left"
