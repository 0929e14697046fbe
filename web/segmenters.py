"""Which segmenter answers a visitor's clicks: what there is to choose, and changing over to it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from segmentation import (
    CheckpointError,
    Readiness,
    Segmenter,
    SegmenterSpec,
    UnknownSegmenterError,
    list_segmenters,
    load_segmenter,
)
from web.failures import message_of
from web.visitors import Visitor, VisitorStore
from web.wiring import Update

PICKER_OUTPUTS = ("segmenter", "segmenter_box")
"""Names of the components that a choice changes."""

_STATES = {
    Readiness.READY: "ready",
    Readiness.DOWNLOADABLE: "will download",
    Readiness.UNAVAILABLE: "not available here",
}


_logger = logging.getLogger(__name__)


class Segmenters:
    """The segmenters of this server, each loaded once, when it is first chosen, and shared by all visitors.

    Safe to use from several threads; who asks for one that is being loaded waits for it.

    Args:
        first: what answers the clicks of newcomers.
        load: gets a segmenter by its name, as `segmentation.load_segmenter` does.
    """

    def __init__(self, first: Segmenter, *, load: Callable[[str], Segmenter] = load_segmenter) -> None:
        self.first = first
        self._load = load
        self._loaded = {first.spec.name: first}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def specs(self) -> tuple[SegmenterSpec, ...]:
        """All that can be chosen."""
        known = list_segmenters()
        is_known = any(spec.name == self.first.spec.name for spec in known)
        return known if is_known else (self.first.spec, *known)

    def spec(self, name: object) -> SegmenterSpec:
        """What a user should know about one of them.

        Raises:
            UnknownSegmenterError: if there is none of this name.
        """
        for spec in self.specs():
            if spec.name == name:
                return spec
        known = ", ".join(spec.name for spec in self.specs())
        raise UnknownSegmenterError(f"there is no segmenter {name!r}; choose one of: {known}")

    def readiness(self, spec: SegmenterSpec) -> Readiness:
        """Whether it answers at once, after a download, or not on this machine."""
        return Readiness.READY if spec.name in self._loaded else spec.readiness()

    def get(self, name: str) -> Segmenter:
        """A segmenter, loaded now if nobody has done so before. One that fails can be tried again.

        Raises:
            UnknownSegmenterError: if there is none of this name, or it is not available here.
            CheckpointError: if its weights cannot be downloaded or read.
        """
        spec = self.spec(name)
        with self._lock:
            lock = self._locks.setdefault(spec.name, threading.Lock())
        with lock:
            if spec.name not in self._loaded:
                self._loaded[spec.name] = self._load(spec.name)
            return self._loaded[spec.name]


class SegmenterPicker:
    """Lets a visitor choose what answers the clicks.

    Args:
        visitors: who is here.
        segmenters: what there is to choose.
    """

    def __init__(self, *, visitors: VisitorStore, segmenters: Segmenters) -> None:
        self._visitors = visitors
        self._segmenters = segmenters

    def show(self, *, token: str) -> Update:
        """The list, as a newcomer sees it."""
        return self._shown(self._visitors.get(token))

    def use(self, *, token: str, segmenter: Any) -> Iterator[Update]:
        """Change over to another segmenter; the one before stays where that fails.

        Args:
            token: of the visitor.
            segmenter: the name that the list sent.
        """
        visitor = self._visitors.get(token)
        try:
            spec = self._segmenters.spec(segmenter)
            yield self._shown(visitor, chosen=spec, note=self._announcement(spec), is_busy=True)
            chosen = self._segmenters.get(spec.name)
            # From here on new clips are opened with it, so that none is missed.
            visitor.segmenter = chosen
            if visitor.clip is not None:
                visitor.clip.reopen(chosen)
        except Exception as error:
            stays = f"{self._active(visitor).label} still answers your clicks."
            yield self._shown(visitor, note=f"{self._reason(error, segmenter)}. {stays}", is_problem=True)
            return
        yield self._shown(visitor, note=f"{spec.label} answers your clicks now.")

    def _announcement(self, spec: SegmenterSpec) -> str:
        if self._segmenters.readiness(spec) is Readiness.DOWNLOADABLE:
            return f"Downloading {spec.label}, {_size(spec)}, once for this machine. You can go on meanwhile."
        return f"Loading {spec.label}."

    def _reason(self, error: Exception, name: Any) -> str:
        if not isinstance(error, CheckpointError):
            return message_of(error)
        spec = self._segmenters.spec(name)
        _logger.warning("%s could not be loaded: %s", spec.name, error)
        verb = "downloaded" if self._segmenters.readiness(spec) is Readiness.DOWNLOADABLE else "read"
        return (
            f"{spec.label} could not be {verb}. Check the network connection and the free space of the "
            f"computer that runs this page, or start it with --segmenter {spec.name} --checkpoint and a file "
            "that you have"
        )

    def _active(self, visitor: Visitor) -> SegmenterSpec:
        return (visitor.segmenter or self._segmenters.first).spec

    def _shown(self, visitor: Visitor, *, chosen: SegmenterSpec | None = None, **state: Any) -> Update:
        active = self._active(visitor)
        choices = [_choice(spec, self._segmenters.readiness(spec)) for spec in self._segmenters.specs()]
        view = {"choices": choices, "active": active.name, "chosen": (chosen or active).name}
        return {
            "segmenter": view | {"note": "", "is_busy": False, "is_problem": False} | state,
            "segmenter_box": gr.Accordion(label=f"Clicks are answered by: {active.label}"),
        }


def _choice(spec: SegmenterSpec, readiness: Readiness) -> dict[str, Any]:
    if readiness is Readiness.UNAVAILABLE:
        action, advice = None, f"{spec.label} is {spec.describe_readiness()}."
    else:
        verb = f"Download {_size(spec)} and use" if readiness is Readiness.DOWNLOADABLE else "Use"
        action = f"{verb} {spec.label}"
        advice = "Your clicks stay; what was followed through the clip is followed anew."
    return {
        "name": spec.name,
        "label": spec.label,
        "facts": f"{spec.licence} · {_size(spec)}",
        "state": readiness.name.lower(),
        "words": _STATES[readiness],
        "description": spec.description,
        "action": action,
        "advice": advice,
    }


def _size(spec: SegmenterSpec) -> str:
    if not spec.size_bytes:
        return "no weights"
    return f"{spec.size_bytes / 1e9:.1f} GB" if spec.size_bytes >= 1e9 else f"{spec.size_bytes / 1e6:.0f} MB"
