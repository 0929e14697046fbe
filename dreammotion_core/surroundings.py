"""Where the program runs, and what it runs there: one rule for the page and for the command line.

The command line comes first, then the variables ``DREAMMOTION_*``, then what fits the machine and lies ready.
Nothing is downloaded here, no restricted licence is chosen unasked, and the toy world always works on a CPU.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

import cv2
import torch

from dreammotion_core.errors import ConfigError, DreamMotionError
from dreammotion_core.memory import RESERVE, usable_memory
from dreammotion_core.models.catalog import find_model, list_models
from dreammotion_core.spec import ModelSpec

Value = TypeVar("Value")

AUTO = "auto"
COMMAND_LINE, AUTOMATIC = "command line", "automatic"
SMALL_MODEL, SMALL_SEGMENTER = "toybox", "embedded"

SEGMENTERS_OF_A_GPU = ("sam2-tiny", "edgetam", "mobile-sam")
SEGMENTERS_OF_A_CPU = ("mobile-sam", "edgetam")
ROOM_OF_A_SEGMENTER = 4_000_000_000
"""Bytes of a GPU that have to be free beside the model."""

PROCESS_BYTES = 1_500_000_000
"""Memory of the machine that the program holds without a model."""

LENT_BYTES = {"large": 44_000_000_000, "xlarge": 90_000_000_000}
"""Memory of a lent GPU, which cannot be asked before it is lent."""
LENT_DEVICE = "cuda"

LIMITS: Mapping[str, Any] = {
    **dict.fromkeys(("max_steps", "max_frames", "max_side", "max_minutes", "max_memory")),
    **{"max_megapixels": 2000, "max_queue": 32, "max_seconds": 200, "max_jobs": 24},
    **{"max_pages": 300, "max_pages_each": 300, "max_uploads": 20_000, "max_disk": 20_000},
}
"""Limits of a page for its owner; None leaves one to the model, `max_memory` to the machine."""
PUBLIC_LIMITS: Mapping[str, Any] = {
    **LIMITS,
    **{"max_steps": 300, "max_frames": 49, "max_side": 1920, "max_minutes": 30},
    **{"max_megapixels": 110, "max_queue": 16, "max_jobs": 6},
    **{"max_pages": 100, "max_pages_each": 20, "max_uploads": 2000, "max_disk": 5000},
}
"""Limits of a page for strangers."""
MEMORY_FOR_CLIPS = 4
"""Part of the machine's own memory that open clips may take, as a divisor."""

_VARIABLE = re.compile(r"DREAMMOTION_[A-Z_]+")
_OTHER_VARIABLES = {"DREAMMOTION_CACHE", "DREAMMOTION_CLIPS", "DREAMMOTION_PASSWORD"}
_TRUE, _FALSE = {"1", "t", "true", "yes", "on"}, {"0", "f", "false", "no", "off", ""}


class Place(StrEnum):
    """What computes."""

    CPU = "processor"
    GPU = "GPU of its own"
    LENT = "lent GPU"


class Weights(Protocol):
    """A model or segmenter; `is_ready` says whether it runs without a download."""

    @property
    def name(self) -> str: ...  # noqa: D102

    def is_ready(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class Choice(Generic[Value]):
    """A value, and who chose it: the command line, a variable by its name, or the rule."""

    value: Value
    by: str = AUTOMATIC

    def __str__(self) -> str:
        return f"{self.value} ({self.by})"


def computes_on(device: str) -> bool:
    """Whether torch computes on a device; a GPU whose driver is too old for it is there and does not."""
    try:
        return bool(torch.ones(1, device=device).add(1).item() == 2)
    # A torch without CUDA asserts that it has it.
    except (RuntimeError, AssertionError):
        return False


@dataclass(frozen=True)
class Machine:
    """What the rule asks of a machine; `room` is the bytes that a device can hold, 0 where unknown."""

    computes_on: Callable[[str], bool] = computes_on
    room: Callable[[str], int] = usable_memory


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where the program runs, what it runs, and who chose each.

    Attributes:
        space: ``owner/name`` of the Hugging Face Space; empty elsewhere.
        device: torch name of the device that edits.
        model: name, folder or hub id; `low_memory` loads it with `LoadOptions.low_memory`.
        judges: what judges words and frames besides the embedded one.
        public: whether strangers are expected, for whom the limits are stricter.
        downloads: names of models and segmenters that visitors may download; None allows all.
        max_steps, max_frames: of an edit; None leaves them to the model.
        max_side: pixels of the longer side of an uploaded clip; None takes every clip.
        max_megapixels: millions of pixels of all frames of a clip.
        max_minutes: that an edit may hold the device for.
        max_seconds: that an edit may borrow a lent GPU for.
        max_queue, max_jobs: edits and other long jobs that wait or run, of all and of an address.
        max_pages, max_pages_each: open pages, of all and of an address.
        max_memory: MB of the frames of all open clips.
        max_uploads: MB that an address may upload in an hour.
        max_disk: MB of all uploads, results and long clips.
        lent_size: of a lent GPU, ``"large"`` or ``"xlarge"``.
        notices: what was asked for and is not so, why, and what changes it.
    """

    place: Place
    space: str = ""
    device: Choice[str]
    model: Choice[str]
    low_memory: Choice[bool] = Choice(False)
    segmenter: Choice[str]
    segmenter_device: str = "cpu"
    judges: Choice[tuple[str, ...]] = Choice(())
    public: Choice[bool] = Choice(False)
    downloads: Choice[frozenset[str] | None] = Choice(None)
    max_steps: Choice[int | None] = Choice(None)
    max_frames: Choice[int | None] = Choice(None)
    max_side: Choice[int | None] = Choice(None)
    max_megapixels: Choice[int | None] = Choice(None)
    max_minutes: Choice[int | None] = Choice(None)
    max_seconds: Choice[int] = Choice(200)
    max_queue: Choice[int] = Choice(32)
    max_jobs: Choice[int | None] = Choice(None)
    max_pages: Choice[int | None] = Choice(None)
    max_pages_each: Choice[int | None] = Choice(None)
    max_memory: Choice[int | None] = Choice(None)
    max_uploads: Choice[int | None] = Choice(None)
    max_disk: Choice[int | None] = Choice(None)
    lent_size: Choice[str] = Choice("large")
    notices: tuple[str, ...] = ()

    def may_download(self, name: str) -> bool:
        """Whether visitors may download a model or segmenter."""
        return self.downloads.value is None or name in self.downloads.value

    @property
    def sharper_segmenters(self) -> tuple[str, ...]:
        """What may be offered instead of the embedded segmenter, where nobody has chosen that one."""
        if self.segmenter != Choice(SMALL_SEGMENTER):
            return ()
        return SEGMENTERS_OF_A_GPU if self.segmenter_device != "cpu" else SEGMENTERS_OF_A_CPU

    def noting(self, notice: str, **changes: Any) -> Surroundings:
        """The same with some changes, and a sentence that says why."""
        return replace(self, notices=(*self.notices, notice), **changes)

    def without_model(self, reason: str) -> Surroundings:
        """The same with the small model, because the chosen one cannot be loaded."""
        notice = f"{_asked('model', self.model)}: {reason.rstrip('.')}. {SMALL_MODEL} edits instead."
        return self.noting(notice, model=Choice(SMALL_MODEL), low_memory=Choice(False))

    def without_segmenter(self, reason: str) -> Surroundings:
        """The same with the embedded segmenter, because the chosen one cannot be loaded."""
        asked = _asked("segmenter", self.segmenter)
        notice = f"{asked}: {reason.rstrip('.')}. The embedded one answers clicks instead."
        return self.noting(notice, segmenter=Choice(SMALL_SEGMENTER), segmenter_device="cpu")

    def without_judges(self, reason: str) -> Surroundings:
        """The same with the embedded judge alone."""
        notice = f"{_asked('judge', self.judges)}: {reason.rstrip('.')}. The embedded one judges alone."
        return self.noting(notice, judges=Choice(()))

    def describe(self) -> str:
        """All of it on one line, with who chose each."""
        memory = f", saving memory ({self.low_memory.by})" if self.low_memory.value else ""
        allowed = self.downloads.value
        downloads = "all" if allowed is None else ", ".join(sorted(allowed)) or "none"
        limited: dict[str, Choice[Any]] = {"steps": self.max_steps, "frames": self.max_frames}
        limited |= {"pixels a side": self.max_side, "queue": self.max_queue}
        if self.place is Place.LENT:
            limited["seconds"] = self.max_seconds
        limits = [f"{name} {limit}" for name, limit in limited.items() if limit.value is not None]
        where = f"Space {self.space}" if self.space else "this machine"
        return (
            f"Place: {where}, {self.place} · device: {self.device} · model: {self.model}{memory} · "
            f"segmenter: {self.segmenter} · limits: {', '.join(limits)} · "
            f"downloads: {downloads} ({self.downloads.by})"
        )


def find_surroundings(
    given: Mapping[str, Any],
    *,
    segmenters: Sequence[Weights],
    environment: Mapping[str, str] = os.environ,
    machine: Machine = Machine(),
    is_forgiving: bool | None = None,
) -> Surroundings:
    """Decide where the program runs and what it runs.

    Args:
        given: values of the command line by the names of `Surroundings`; ``"auto"``, None, False and empty
            ones were not given.
        segmenters: all that can be chosen.
        machine: what is asked of the hardware; never asked about CUDA where GPUs are lent.
        is_forgiving: a wish that cannot be met becomes a notice, and the rule goes on without it; None is so
            on a Space, whose owner has no terminal.

    Raises:
        ConfigError: if a wish cannot be met, unless forgiving.
        ModelLoadError: if there is no model of the name, unless forgiving.
    """
    rule = _Rule(given, environment, machine, is_forgiving)
    place, device = rule.place()
    model, low_memory, room = rule.model(place, device)
    segmenter, segmenter_device = rule.segmenter(place, device.value, segmenters, room)
    public = rule.wish("public", _yes_or_no, bool(rule.space))
    limits = dict(PUBLIC_LIMITS if public.value else LIMITS)
    limits["max_memory"] = rule.ram() // (MEMORY_FOR_CLIPS * 10**6) or None
    return Surroundings(
        place=place,
        space=rule.space,
        device=device,
        model=model,
        low_memory=low_memory,
        segmenter=segmenter,
        segmenter_device=segmenter_device,
        judges=rule.wish("judge", _words, ()),
        public=public,
        downloads=rule.downloads([each.name for each in segmenters], none=public.value),
        **{name: rule.wish(name, _at_least_one, limit) for name, limit in limits.items()},
        lent_size=rule.wish("lent_size", _lent_size, "large"),
        notices=tuple(rule.notices),
    )


class _Rule:
    """Reads wishes and answers one question after the other; collects what could not be met."""

    def __init__(
        self,
        given: Mapping[str, Any],
        environment: Mapping[str, str],
        machine: Machine,
        is_forgiving: bool | None,
    ) -> None:
        self._given, self._environment, self._machine = given, environment, machine
        self.space = environment.get("SPACE_ID", "") if environment.get("SYSTEM") == "spaces" else ""
        self._is_forgiving = bool(self.space) if is_forgiving is None else is_forgiving
        known = {variable_of(name) for name in _WISHES} | _OTHER_VARIABLES
        unknown = sorted(n for n in environment if _VARIABLE.fullmatch(n) and n not in known)
        listed = ", ".join(sorted(known))
        self.notices = [f"There is no variable {name}; known are {listed}." for name in unknown]

    def wish(self, name: str, read: Callable[[Any], Value], otherwise: Value) -> Choice[Value]:
        """What somebody asked for, or what the rule says otherwise."""
        value, variable = self._given.get(name), variable_of(name)
        if value not in (None, False, AUTO, (), []):
            return Choice(read(value), COMMAND_LINE)
        text = self._environment.get(variable, "").strip()
        if text and text.lower() != AUTO:
            try:
                return Choice(read(text), variable)
            except ConfigError as error:
                self._refuse(ConfigError(f"{variable} is {_short(text)!r}; {error}"))
        return Choice(otherwise)

    def place(self) -> tuple[Place, Choice[str]]:
        wish = self.wish("device", str, AUTO)
        if self._environment.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true"):
            if wish.value not in (AUTO, LENT_DEVICE):
                # The platform ends programs that borrow nothing.
                self.notices.append(f"{_asked('device', wish)}: a Space with lent GPUs has to use them.")
            return Place.LENT, Choice(LENT_DEVICE)
        if wish.value != AUTO:
            if problem := self._device_problem(wish.value):
                self._refuse(ConfigError(f"{_asked('device', wish)}: {problem}"))
            else:
                return Place.GPU if wish.value.startswith("cuda") else Place.CPU, wish
        if self._machine.computes_on("cuda"):
            return Place.GPU, Choice("cuda")
        accelerator = self._environment.get("ACCELERATOR", "none").lower()
        if self.space and accelerator not in ("", "none"):
            self.notices.append(
                f"This Space has a GPU ({accelerator}) that its torch cannot use, so the processor works. "
                "Restart the Space; if that does not help, choose other hardware."
            )
        return Place.CPU, Choice("cpu")

    def model(self, place: Place, device: Choice[str]) -> tuple[Choice[str], Choice[bool], int]:
        """What edits, whether it saves memory, and the bytes that it leaves on the device."""
        room, ram = self._room(place, device.value), self.ram()
        wish, sparing = self.wish("model", str, AUTO), self.wish("low_memory", _yes_or_no, False)
        if wish.value != AUTO:
            try:
                spec = find_model(wish.value)
            except DreamMotionError as error:
                self._refuse(error, _asked("model", wish))
            else:
                if problem := _misfit(spec, room, ram, device.value):
                    self._refuse(ConfigError(f"{_asked('model', wish)}: {problem}"))
                else:
                    return wish, *_sparing(spec, sparing, room)
        if place is Place.GPU:
            for spec in best_first(list_models(), room=room):
                fits = bool(room) and spec.memory_bytes and not _misfit(spec, room, ram, device.value)
                if fits and not spec.is_local and is_open(spec) and spec.is_ready():
                    return Choice(spec.name), *_sparing(spec, sparing, room)
        return Choice(SMALL_MODEL), sparing, room

    def segmenter(
        self, place: Place, device: str, segmenters: Sequence[Weights], room: int
    ) -> tuple[Choice[str], str]:
        """What answers clicks, and where. Clicks come while no GPU is lent."""
        on_gpu = place is Place.GPU and (not room or room >= ROOM_OF_A_SEGMENTER)
        where = device if on_gpu else "cpu"
        wish = self.wish("segmenter", str, AUTO)
        if wish.value in (names := [each.name for each in segmenters]):
            return wish, where
        if wish.value == AUTO and self._given.get("checkpoint"):
            # It belongs to one of them, and nobody said to which.
            return Choice(SMALL_SEGMENTER), "cpu"
        if wish.value != AUTO:
            error = f"there is no segmenter {_short(wish.value)!r}; choose one of: {', '.join(names)}"
            self._refuse(ConfigError(error))
        ready = [each.name for each in segmenters if each.is_ready()]
        for name in SEGMENTERS_OF_A_GPU if on_gpu else SEGMENTERS_OF_A_CPU:
            if name in ready:
                return Choice(name), where
        return Choice(SMALL_SEGMENTER), where

    def downloads(self, segmenters: Sequence[str], *, none: bool) -> Choice[frozenset[str] | None]:
        """What visitors may download, `none` unless somebody lists it; None is everything."""
        wish = self.wish("downloads", _allowed, frozenset[str]() if none else None)
        known = {*(spec.name for spec in list_models()), *segmenters}
        unknown = sorted((wish.value or frozenset()) - known)
        if unknown:
            self._refuse(
                ConfigError(
                    f"{variable_of('downloads')} names {_short(', '.join(unknown))}, which is no model and "
                    f"no segmenter; choose from: {', '.join(sorted(known))}, or write all or none"
                )
            )
        return wish

    def _refuse(self, error: DreamMotionError, asked: str = "") -> None:
        if not self._is_forgiving:
            raise error
        text = str(error).rstrip(".")
        notice = f"{asked}: {text}." if asked else f"{text[:1].upper()}{text[1:]}."
        if notice not in self.notices:
            self.notices.append(notice)

    def _device_problem(self, name: str) -> str:
        try:
            kind = torch.device(name).type
        except RuntimeError:
            return "there is no such device; choose cpu, cuda, or cuda:1 and so on"
        if kind == "cpu" or self._machine.computes_on(name):
            return ""
        return "torch cannot compute on it; choose another, or cpu, or look into driver and torch"

    def _room(self, place: Place, device: str) -> int:
        if place is Place.LENT:
            return LENT_BYTES[self.wish("lent_size", _lent_size, "large").value]
        return self._machine.room(device)

    def ram(self) -> int:
        """The container's limit, or what the machine has."""
        room = self._machine.room("cpu")
        if found := re.fullmatch(r"(\d+)\s*Gi", self._environment.get("MEMORY", "")):
            limit = int(RESERVE * int(found[1]) * 2**30)
            return min(room, limit) if room else limit
        return room


def settle_before_fork() -> None:
    """Let OpenCV compute on the calling thread alone, in a process that will be forked.

    Its other threads would not come along to the fork, which would wait for them forever, even to end them.
    """
    cv2.setNumThreads(1)


def settle_after_fork() -> None:
    """Let torch compute on the calling thread alone, in a forked process, for the same reason."""
    torch.set_num_threads(1)


def best_first(specs: Sequence[ModelSpec], *, room: int) -> list[ModelSpec]:
    """Models in the order in which they suit a device: those that fit, then those that fit saving memory.

    `room` is the device's bytes; 0, for unknown, keeps the order.
    """

    def rank(spec: ModelSpec) -> tuple[int, int]:
        if not spec.memory_bytes or not room:
            return 0, 0
        if spec.memory_bytes <= room:
            return 0, -spec.memory_bytes
        return (1, -spec.low_memory_bytes) if _need(spec, True) <= room else (2, spec.low_memory_bytes)

    return sorted(specs, key=rank)


def is_open(spec: ModelSpec) -> bool:
    """Whether the licence of the weights allows every use."""
    return spec.licence.startswith(("Apache-2.0", "MIT"))


def variable_of(name: str) -> str:
    """The variable that stands for an option."""
    return f"DREAMMOTION_{name.upper()}"


_WISHES = (
    *("model", "segmenter", "device", "low_memory", "judge", "downloads"),
    *("public", "lent_size", *LIMITS),
)


def _asked(what: str, choice: Choice[Any]) -> str:
    value = ", ".join(choice.value) if isinstance(choice.value, tuple) else choice.value
    return f"{what.capitalize()} {_short(value)} was asked for ({choice.by})"


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"


def _need(spec: ModelSpec, spares: bool) -> int:
    return (spec.low_memory_bytes if spares else 0) or spec.memory_bytes


def _sparing(spec: ModelSpec, asked: Choice[bool], room: int) -> tuple[Choice[bool], int]:
    """Whether a model saves memory, and the bytes that it leaves."""
    must = bool(room and spec.low_memory_bytes and spec.memory_bytes > room)
    spares = asked if asked.by != AUTOMATIC else Choice(must)
    return spares, room - _need(spec, spares.value)


def _misfit(spec: ModelSpec, room: int, ram: int, device: str) -> str:
    """Why a model cannot run in some bytes of a device and of the machine; empty where it can."""
    if room and (need := _need(spec, spares=True)) > room:
        return f"it needs {need / 1e9:.1f} GB at least, and {room / 1e9:.1f} GB can be used on {device}"
    if ram and spec.loaded_bytes and spec.loaded_bytes + PROCESS_BYTES > ram:
        return (
            f"it is loaded through {spec.loaded_bytes / 1e9:.1f} GB of the machine's own memory, of which "
            f"{max(0, ram - PROCESS_BYTES) / 1e9:.1f} GB can be used"
        )
    return ""


def _yes_or_no(value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in _TRUE | _FALSE:
        raise ConfigError("write 1 or 0")
    return text in _TRUE


def _at_least_one(value: Any) -> int:
    try:
        number = int(value)
    except ValueError:
        number = 0
    if number < 1:
        raise ConfigError("write a whole number from 1 on")
    return number


def _words(value: Any) -> tuple[str, ...]:
    return tuple(value.replace(",", " ").split() if isinstance(value, str) else value)


def _allowed(value: Any) -> frozenset[str] | None:
    words = _words(value)
    return None if words == ("all",) else frozenset() if words == ("none",) else frozenset(words)


def _lent_size(value: Any) -> str:
    if value not in LENT_BYTES:
        raise ConfigError(f"choose {' or '.join(LENT_BYTES)}")
    return str(value)
