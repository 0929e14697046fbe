"""Which segmenter answers a visitor's clicks: what there is to choose, and changing over to it.

Choosing the model that edits: said before it costs anything, and nothing that still fits is lost.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any
from weakref import WeakKeyDictionary

import gradio as gr

from dreammotion_core import EditConfig, ModelSpec, describe_memory, length_words, shortest_length
from segmentation import (
    CheckpointError,
    Download,
    Readiness,
    Segmenter,
    SegmenterSpec,
    UnknownSegmenterError,
    download_weights,
    list_segmenters,
    load_segmenter,
)
from web.components import masthead_html
from web.downloading import OneAtATime, Progress, ProgressWords, size_words
from web.form import FIRST_PRESET, model_fields, preset_fields
from web.layout import frames_info, stage_choices
from web.models import Models, State
from web.opening import CLIP_OUTPUTS, Clips
from web.views import Update
from web.visitors import Visitor, VisitorStore
from web.wiring import message_of

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
        download: fetches its weights before, as `segmentation.download_weights` does.
    """

    def __init__(
        self,
        first: Segmenter,
        *,
        load: Callable[[str], Segmenter] = load_segmenter,
        download: Callable[[str], Generator[Download, None, None]] = download_weights,
    ) -> None:
        self.first = first
        self._load = load
        self._download = download
        self._loaded = {first.spec.name: first}
        self._queue = OneAtATime()

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

    def fetch(self, name: str) -> Generator[Progress | None, None, None]:
        """Download the weights of a segmenter, unless they are here; see `OneAtATime.fetch`.

        Raises:
            UnknownSegmenterError: if there is none of this name, or it is not available here.
            CheckpointError: if they cannot be downloaded.
        """
        spec = self.spec(name)

        def download() -> Generator[Download, None, None]:
            if spec.name not in self._loaded:
                yield from self._download(spec.name)

        return self._queue.fetch(spec.name, download)

    def get(self, name: str) -> Segmenter:
        """A segmenter, loaded now if nobody has done so before. One that fails can be tried again.

        Raises:
            UnknownSegmenterError: if there is none of this name, or it is not available here.
            CheckpointError: if its weights cannot be downloaded or read.
        """
        spec = self.spec(name)
        with self._queue.lock(spec.name):
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
        self._stops: WeakKeyDictionary[Visitor, threading.Event] = WeakKeyDictionary()

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
        self._stops[visitor] = stop = threading.Event()
        try:
            spec = self._segmenters.spec(segmenter)
            yield self._shown(visitor, chosen=spec, note=self._announcement(spec), is_busy=True)
            yield from self._fetched(visitor, spec, stop)
            if stop.is_set():
                note = f"Stopped. {self._active(visitor).label} still answers your clicks."
                yield self._shown(visitor, note=note)
                return
            _change_over(visitor, self._segmenters.get(spec.name))
        except Exception as error:
            reason = self._reason(error, segmenter).rstrip(".")
            stays = f"{self._active(visitor).label} still answers your clicks."
            yield self._shown(visitor, note=f"{reason}. {stays}", is_problem=True)
            return
        yield self._shown(visitor, note=f"{spec.label} answers your clicks now.")

    def stop(self, token: str) -> Update:
        """End the visitor's download, or the waiting for it."""
        if stop := self._stops.get(self._visitors.get(token)):
            stop.set()
        return {}

    def _fetched(self, visitor: Visitor, spec: SegmenterSpec, stop: threading.Event) -> Iterator[Update]:
        words = ProgressWords(spec.label)
        with closing(self._segmenters.fetch(spec.name)) as fetched:
            for progress in fetched:
                if stop.is_set():
                    return
                if words.is_due():
                    yield self._shown(visitor, chosen=spec, is_busy=True, **words.view(progress))

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
        view = {
            "kind": "segmenter",
            "choices": choices,
            "active": active.name,
            "chosen": (chosen or active).name,
        }
        usual = {"note": "", "is_busy": False, "is_problem": False, "progress": None}
        return {
            "segmenter": view | usual | state,
            "segmenter_box": gr.Accordion(label=f"Clicks are answered by: {active.label}"),
        }


def _change_over(visitor: Visitor, chosen: Segmenter) -> None:
    # New clips are opened with it before the open one is, so that none is missed.
    before, visitor.segmenter = visitor.segmenter, chosen
    try:
        if visitor.clip is not None:
            visitor.clip.reopen(chosen)
    except Exception:
        visitor.segmenter = before
        raise


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
    return size_words(spec.size_bytes) if spec.size_bytes else "no weights"


LIST_OUTPUTS = ("model", "model_box")
"""Names of the components that show what there is to choose."""

MODEL_OUTPUTS = (
    *LIST_OUTPUTS,
    *("masthead", "start_frame", "num_frames", "last_stage", "preset"),
    *model_fields(EditConfig()),
    *CLIP_OUTPUTS,
)
"""Names of the components that a choice changes."""

_VERBS = {State.READY: "Use", State.DOWNLOADABLE: "Download {size} and use"}


class ModelPicker:
    """Lets a visitor choose what edits.

    Args:
        visitors: who is here.
        models: what there is to choose.
        clips: reads the open clip anew, as another model wants it.
    """

    def __init__(self, *, visitors: VisitorStore, models: Models, clips: Clips) -> None:
        self._visitors = visitors
        self._models = models
        self._clips = clips
        self._stops: WeakKeyDictionary[Visitor, threading.Event] = WeakKeyDictionary()

    def show(self, *, token: str) -> Update:
        """The list, as a newcomer sees it."""
        return self._shown(self._visitors.get(token))

    def use(self, *, token: str, model: Any) -> Iterator[Update]:
        """Change over to another model; the one before stays where that fails.

        Args:
            token: of the visitor.
            model: the name that the list sent.
        """
        visitor = self._visitors.get(token)
        self._stops[visitor] = stop = threading.Event()
        try:
            spec = self._models.spec(model)
            yield self._shown(visitor, chosen=spec, note=f"Preparing {spec.label}.", is_busy=True)
            yield from self._fetched(visitor, spec, stop)
            if stop.is_set():
                stays = f"Stopped. {self._models.of(visitor).spec.label} stays; what came is kept."
                yield self._shown(visitor, note=stays)
                return
            visitor.editor = self._models.get(spec.name)
            adapted = self._clips.adapt(token=token)
        except Exception as error:
            stays = f"{self._models.of(visitor).spec.label} stays."
            yield self._shown(visitor, note=f"{message_of(error).rstrip('.')}. {stays}", is_problem=True)
            return
        note = f"{spec.label} edits now. Its weights are loaded by the first edit."
        yield (
            self._shown(visitor, note=note)
            | _controls(spec)
            | model_fields(spec.config(FIRST_PRESET))
            | adapted
        )

    def preset(self, *, token: str, preset: Any) -> Update:
        """What a preset sets with the visitor's model."""
        return preset_fields(self._models.of(self._visitors.get(token)).spec.config(preset))

    def stop(self, token: str) -> Update:
        """End the visitor's download, or the waiting for it."""
        if stop := self._stops.get(self._visitors.get(token)):
            stop.set()
        return {}

    def _fetched(self, visitor: Visitor, spec: ModelSpec, stop: threading.Event) -> Iterator[Update]:
        words = ProgressWords(spec.label)
        with closing(self._models.fetch(spec.name)) as fetched:
            for progress in fetched:
                if stop.is_set():
                    return
                if words.is_due():
                    yield self._shown(visitor, chosen=spec, is_busy=True, **words.view(progress))

    def _shown(self, visitor: Visitor, *, chosen: ModelSpec | None = None, **state: Any) -> Update:
        active = self._models.of(visitor).spec
        view = {
            "kind": "model",
            "choices": [self._choice(spec) for spec in self._models.specs()],
            "active": active.name,
            "chosen": (chosen or active).name,
        }
        usual = {"note": "", "is_busy": False, "is_problem": False, "progress": None}
        return {
            "model": view | usual | state,
            "model_box": gr.Accordion(label=f"Edited by: {active.label}"),
        }

    def _choice(self, spec: ModelSpec) -> dict[str, Any]:
        standing = self._models.standing(spec)
        size = size_words(spec.size_bytes) if spec.size_bytes else "its size is unknown"
        verb = _VERBS.get(standing.state)
        return {
            "name": spec.name,
            "label": spec.label,
            "facts": " · ".join(fact for fact in (size, describe_memory(spec), spec.licence) if fact),
            "state": standing.state.name.lower(),
            "words": str(standing.state),
            "description": spec.description,
            "action": verb and f"{verb.format(size=size)} {spec.label}",
            "advice": standing.reason or self._advice(spec),
        }

    def _advice(self, spec: ModelSpec) -> str:
        advice = f"Takes {length_words(spec)} frames at {spec.fps:g} a second."
        if self._models.is_tight(spec):
            advice += " As many frames as it likes best do not fit here: “Time and memory” finds how many do."
        if self._models.is_slow(spec):
            advice += " This page runs on a processor, on which each step of so large a model takes minutes."
        return advice


def _controls(spec: ModelSpec) -> Update:
    """What of the page follows the model."""
    return {
        "masthead": masthead_html(spec),
        "num_frames": gr.Slider(
            minimum=shortest_length(spec),
            maximum=spec.fit_length(spec.max_frames),
            step=spec.frame_step,
            value=spec.num_frames,
            info=frames_info(spec),
        ),
        "last_stage": gr.Radio(choices=stage_choices(spec), value="", visible=bool(spec.stages)),
        "preset": FIRST_PRESET,
    }
