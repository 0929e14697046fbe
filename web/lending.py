"""Editing on a GPU that is lent for a while: how long it is borrowed, what of an edit fits, and what failed.

Hugging Face lends GPUs to Spaces, at the cost of the visitor's quota. The work runs in a forked process, from
which only plain values come back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from dreammotion_core import (
    BackendError,
    ConfigError,
    DreamMotionError,
    EditConfig,
    EditEvent,
    EditSource,
    Finished,
    ModelSpec,
    OutOfMemoryError,
    Preflight,
    Started,
    StepDone,
    Trial,
    Video,
    settle_after_fork,
    settle_before_fork,
)
from web.editor import LazyEditor
from web.views import format_seconds

START_SECONDS = 10.0  # Until the first step: worker, weights, words and clip.
QUICKEST_STEP = 0.06  # Seconds of a step of the smallest models, which wait for the processor.
TFLOP_A_SECOND = 40.0  # What half an RTX Pro 6000 is expected to compute; nobody has measured it for us.
TFLOP_A_FRAME = {
    "zeroscope": 4.7,
    "modelscope": 1.7,
    "cogvideox-2b": 4.4,
    "cogvideox-5b": 11.0,
    "wan-1.3b": 16.0,
    "wan-14b": 120.0,
}
"""TFLOP of a step, at each model's own size; counted, or scaled from what was (docs/measuring.md)."""
TFLOP_A_GIGABYTE = 0.35  # For other models: work grows with the memory that they need.
SMALL_BYTES = 100_000_000  # Weights of models whose steps are the quickest.
UNKNOWN_BYTES = 14_000_000_000  # Memory of a model that says neither what it needs nor how large it is.
MARGIN = 1.2  # On measured steps.
QUOTA_FACTOR = {"large": 1.5, "xlarge": 2.0}  # Seconds of quota for each second asked for.
ANONYMOUS_SECONDS, FREE_SECONDS = 120, 300  # A day's quota without an account, and with a free one.


class LoanError(BackendError):
    """The GPU was not lent, or taken back."""


Lend = Callable[..., Callable[..., Any]]
"""``spaces.GPU``: decorates work, given a ``size`` and, as ``duration``, a function of its arguments."""


@dataclass(frozen=True)
class _Failed:
    """An error of ours, as a last event: the lender would keep the name of its class alone."""

    kind: type[DreamMotionError]
    text: str

    @property
    def error(self) -> DreamMotionError:
        if issubclass(self.kind, OutOfMemoryError):
            # Not of that class, after which a smaller edit would be tried, for which nobody asked.
            return LoanError(loan_words("worker error", "OutOfMemoryError"))
        return self.kind(self.text)


@dataclass(frozen=True)
class Loan:
    """What an edit would borrow.

    Attributes:
        seconds: asked for; at most `limit` may be.
        quota: seconds that it takes of the visitor's quota.
        steps, frames: the most, with the other as it is, that fit in the limit or, where the edit does so, in
            the quota without an account; 0 where fewer do not help.
    """

    seconds: int
    limit: int
    quota: int
    steps: int
    frames: int

    @property
    def fits(self) -> bool:
        """Whether it may be asked for."""
        return self.seconds <= self.limit

    @property
    def is_for_all(self) -> bool:
        """Whether a visitor without an account can have it."""
        return self.fits and self.quota <= ANONYMOUS_SECONDS

    def describe(self) -> str:
        """What is asked for and who has it; where it is too long, what fits."""
        offers = [f"{self.steps} steps"] * (self.steps > 0) + [f"{self.frames} frames"] * (self.frames > 1)
        smaller = f"choose at most {' or '.join(offers)}" if offers else "choose a smaller model"
        if not self.fits:
            return (
                f"this edit would borrow the GPU for about {format_seconds(self.seconds)}, and "
                f"{format_seconds(self.limit)} are allowed here; {smaller}"
            )
        text = (
            f"Borrows a GPU for up to {format_seconds(self.seconds)}, "
            f"which takes {format_seconds(self.quota)} of your GPU time of the day"
        )
        anonymous, free = ANONYMOUS_SECONDS // 60, FREE_SECONDS // 60
        minutes = f"{anonymous} minutes without an account, {free} with a free one"
        return f"{text} ({minutes})." if self.is_for_all else f"{text} ({minutes}): sign in, or {smaller}."


class HostedEditor:
    """An editor that borrows a GPU for each edit, for as long as its steps and frames are likely to take.

    The weights of `editor` must be loaded, because the work runs in a forked process. `lend` lends a GPU of
    `size` ``"large"`` or ``"xlarge"``, for at most `max_seconds` an edit.
    """

    def __init__(
        self, editor: LazyEditor, *, lend: Lend, size: str = "large", max_seconds: int = 200
    ) -> None:
        settle_before_fork()
        self.spec = editor.spec
        self._editor = editor
        self._size = size
        self._max_seconds = max_seconds
        self._frame_seconds = _expected_frame_seconds(editor.spec)
        lent: Callable[..., Generator[Any, None, None]] = lend(duration=self._asked, size=size)(self._work)
        self._lent = lent

    def stream(self, video: Video, *, config: EditConfig, **asked: Any) -> Generator[EditEvent, None, None]:
        """Run one edit, as `EditSource.stream`. Closing the generator gives the GPU back within one step.

        Raises `ConfigError` if it would borrow the GPU for too long, and `LoanError` if the GPU is not lent,
        or is taken back.
        """
        self.check(len(video), config)
        yield from self._borrowed(video, configs=(config,), **asked)

    @contextmanager
    def at_once(self, video: Video, *, configs: Sequence[EditConfig], **asked: Any) -> Iterator[EditSource]:
        """Give what streams several edits of one clip in order, in one loan where they fit in it."""
        if self.seconds(len(video), configs) > self._max_seconds:
            yield self
            return
        with closing(self._borrowed(video, configs=tuple(configs), **asked)) as events:
            yield _Shared(self.spec, events)

    def measure(self, video: Video, *, config: EditConfig) -> Generator[Trial | Preflight, None, None]:
        """Tries nothing, as that would take from the visitor's quota; `loan` says what an edit takes."""
        del video, config
        yield from ()

    def loan(self, num_frames: int, config: EditConfig) -> Loan:
        """What an edit would borrow, and what fits where that is too long."""
        seconds = self.seconds(num_frames, (config,))
        quota = math.ceil(seconds * QUOTA_FACTOR[self._size])
        free = ANONYMOUS_SECONDS / QUOTA_FACTOR[self._size]
        work = (self._max_seconds if seconds > self._max_seconds else free) - START_SECONDS
        frame = self._frame_seconds * config.resolution_scale**2
        frames = self.spec.fit_length(max(1, int(work / config.num_optimization_steps / frame)))
        return Loan(
            seconds=seconds,
            limit=self._max_seconds,
            quota=quota,
            steps=max(0, int(work / max(QUICKEST_STEP, num_frames * frame))),
            frames=frames if frames < num_frames else 0,
        )

    def check(self, num_frames: int, config: EditConfig) -> None:
        """Refuse an edit that would borrow the GPU for too long. Raises `ConfigError` with what fits."""
        loan = self.loan(num_frames, config)
        if not loan.fits:
            raise ConfigError(loan.describe())

    def seconds(self, num_frames: int, configs: Sequence[EditConfig]) -> int:
        """For how long edits of one clip borrow the GPU."""
        work = sum(
            config.num_optimization_steps
            * max(QUICKEST_STEP, num_frames * self._frame_seconds * config.resolution_scale**2)
            for config in configs
        )
        return math.ceil(START_SECONDS + work)

    def _asked(self, video: Video, *, configs: Sequence[EditConfig], **_: Any) -> int:
        return self.seconds(len(video), configs)

    def _work(
        self, video: Video, *, configs: Sequence[EditConfig], **asked: Any
    ) -> Generator[EditEvent | _Failed, None, None]:
        """In the worker: the edits, one after the other."""
        settle_after_fork()
        try:
            for config in configs:
                yield from self._editor.stream(video, config=config, **asked)
        except DreamMotionError as error:
            yield _Failed(type(error), str(error))

    def _borrowed(
        self, video: Video, *, configs: tuple[EditConfig, ...], **asked: Any
    ) -> Generator[EditEvent, None, None]:
        """Out of the worker: its events; errors of the lender in plain words."""
        steps: list[float] = []
        try:
            with closing(self._lent(video, configs=configs, **asked)) as events:
                for event in events:
                    if isinstance(event, _Failed):
                        raise event.error
                    if isinstance(event, Started):
                        steps.clear()
                    if isinstance(event, StepDone):
                        steps.append(event.seconds)
                    if isinstance(event, Finished):
                        self._learn(steps, len(video), event.output.config)
                    yield event
        except DreamMotionError:
            raise
        except gr.Error as error:
            raise LoanError(loan_words(str(getattr(error, "title", "")), str(error.message))) from error
        # The lender asks a service of its platform, which may fail in ways of its own.
        except Exception as error:
            raise LoanError(
                "no GPU could be borrowed, because the service that lends them failed "
                f"({type(error).__name__}); try again in a minute"
            ) from error

    def _learn(self, steps: Sequence[float], num_frames: int, config: EditConfig) -> None:
        """Expect of the next edits what the steps of this one took; the first ones warm up."""
        if len(steps) > 3:
            measured = float(np.median(steps[2:]))
            self._frame_seconds = MARGIN * measured / num_frames / config.resolution_scale**2


class _Shared:
    """Streams the edits of one loan, each until it is finished."""

    def __init__(self, spec: ModelSpec, events: Generator[EditEvent, None, None]) -> None:
        self.spec = spec
        self._events = events

    def stream(self, *_: Any, **__: Any) -> Generator[EditEvent, None, None]:
        for event in self._events:
            yield event
            if isinstance(event, Finished):
                return


def _expected_frame_seconds(spec: ModelSpec) -> float:
    """Seconds of a step for each frame, before any edit was measured."""
    size = spec.size_bytes
    if spec.is_local:
        size = sum(file.stat().st_size for file in Path(spec.source).rglob("*") if file.is_file())
        if 0 < size < SMALL_BYTES:
            return QUICKEST_STEP / spec.max_frames
    need = (spec.memory_bytes or 2 * size or UNKNOWN_BYTES) / 1e9
    return TFLOP_A_FRAME.get(spec.name, TFLOP_A_GIGABYTE * need) / TFLOP_A_SECOND


def loan_words(title: str, message: str) -> str:
    """What a failed loan means, and what to do, from title and message of the lender's error."""
    match title.removeprefix("ZeroGPU "):
        # Without a token of the visitor, a full line has the title of a used-up quota.
        case "queue timeout" | "quota exceeded" if "No GPU was available" in message:
            return "no GPU was free for a minute; try again"
        case "quota exceeded":
            return _quota_words(message)
        case "illegal duration":
            return (
                "this edit asks for the GPU for longer than your account may borrow one; choose fewer steps "
                "or frames, or sign in to Hugging Face"
            )
        case "pending credits exceeded":
            return "other work of yours holds all of your GPU time; try again when it has ended"
        case "client error" if "token" in message.lower():
            return "the sign-in of this page has expired; reload the page and try again"
        case "client error":
            return "no GPU is free at the moment; try again in a minute"
        case "worker error" if "aborted" in message:
            return (
                "the lent GPU was taken back before the edit was done: its time was over, or its worker "
                "died; choose fewer steps or frames, or try again"
            )
        case "worker error" if "Memory" in message:
            return "the lent GPU ran out of memory; choose fewer frames or a lower resolution"
        case "worker error":
            return f"the work on the lent GPU failed ({message}); try again, or choose other settings"
    return f"the GPU was not lent ({message}); try again in a minute"


def _quota_words(message: str) -> str:
    told = r"\((\d+)s requested vs\. (-?\d+)s left\)\. Try again in (.*?\d+:\d+:\d+)"
    if found := re.search(told, message):
        asked, left, wait = found.groups()
        return (
            f"your GPU time of the day does not suffice: this edit takes {asked} s of it, and "
            f"{max(0, int(left))} s are left; try again in {wait}, choose fewer steps or frames, or sign in "
            "to Hugging Face for more"
        )
    return "the GPU time of the day is used up; sign in to Hugging Face for more, or try again tomorrow"
