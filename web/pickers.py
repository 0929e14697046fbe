"""Choosing the model that edits and the segmenter that answers clicks.

What a choice costs is said before, and where it fails the former choice stays.
"""

from __future__ import annotations

import html
import logging
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Generic
from weakref import WeakKeyDictionary

import gradio as gr

from dreammotion_core import EditConfig, ModelSpec, describe_download, describe_memory, length_words
from segmentation import CheckpointError, Readiness, Segmenter, SegmenterSpec, weights_reachable
from web.components import masthead_html
from web.editor import Editor
from web.form import FIRST_PRESET, model_fields, preset_fields
from web.layout import frames_span, stage_choices
from web.models import Choices, Models, ProgressWords, Segmenters, Spec, Thing, size_words
from web.opening import CLIP_OUTPUTS, Clips
from web.views import Throttle, Update, render
from web.visitors import Visitor, VisitorStore
from web.wiring import message_of

_READINESS = {
    Readiness.READY: "ready",
    Readiness.DOWNLOADABLE: "will download",
    Readiness.UNAVAILABLE: "not available here",
}

_logger = logging.getLogger(__name__)


class Picker(ABC, Generic[Spec, Thing]):
    """Lets a visitor choose from a list, which is the component `kind` in the accordion ``{kind}_box``."""

    kind: str
    title: str  # Of the accordion, before the active choice.
    stays: str  # Said of the former choice where nothing changes.
    stopped = "Stopped."
    has_changed: str  # Said of the new choice.
    outputs: tuple[str, ...]

    def __init__(self, *, visitors: VisitorStore, choices: Choices[Spec, Thing]) -> None:
        self._visitors = visitors
        self._choices: Choices[Spec, Thing] = choices
        self._stops: WeakKeyDictionary[Visitor, threading.Event] = WeakKeyDictionary()

    @abstractmethod
    def _adapt(self, token: str, thing: Thing) -> Update:
        """Fit the open clip to what its visitor has just chosen; gives what else of the page changes."""

    @abstractmethod
    def _size(self, spec: Spec) -> str:
        """How large its weights are, in words."""

    @abstractmethod
    def _advice(self, spec: Spec) -> str:
        """What a visitor should know before choosing it."""

    @property
    def list_outputs(self) -> tuple[str, str]:
        """Names of the components that show what there is to choose."""
        return self.kind, f"{self.kind}_box"

    def show(self, *, token: str) -> Update:
        """The list, as a newcomer sees it."""
        return self._shown(self._visitors.get(token))

    def use(self, *, token: str, **chosen: Any) -> Iterator[Update]:
        """Change over to the choice that the list sent; the one before stays where that fails."""
        visitor = self._visitors.get(token)
        self._stops[visitor] = stop = threading.Event()
        try:
            spec = self._choices.spec(chosen[self.kind])
            yield self._shown(visitor, chosen=spec, note=self._announcement(spec), is_busy=True)
            words, throttle = ProgressWords(spec.label), Throttle()
            with closing(self._choices.fetch(spec.name)) as fetched:
                for progress in fetched:
                    if stop.is_set():
                        break
                    if throttle.is_due():
                        yield self._shown(visitor, chosen=spec, is_busy=True, **words.view(progress))
            if stop.is_set():
                yield self._shown(visitor, note=f"{self.stopped} {self._former(visitor)}")
                return
            if words.has_begun:
                yield self._shown(visitor, chosen=spec, note=f"Preparing {spec.label}.", is_busy=True)
            changes = self._change_over(token, visitor, self._choices.get(spec.name))
        except Exception as error:
            note = f"{self._reason(error, chosen[self.kind]).rstrip('.')}. {self._former(visitor)}"
            yield self._shown(visitor, note=note, is_problem=True)
            return
        yield self._shown(visitor, note=f"{spec.label} {self.has_changed}") | changes

    def stop(self, token: str) -> Update:
        """End the visitor's download, or the waiting for it."""
        if stop := self._stops.get(self._visitors.get(token)):
            stop.set()
        return {}

    def _change_over(self, token: str, visitor: Visitor, thing: Thing) -> Update:
        # Clips that are opened meanwhile take the new choice already, so that none is missed.
        slot = self._choices.slot
        before = getattr(visitor, slot)
        setattr(visitor, slot, thing)
        try:
            return self._adapt(token, thing)
        except Exception:
            setattr(visitor, slot, before)
            raise

    def _announcement(self, spec: Spec) -> str:
        if self._choices.standing(spec).readiness is Readiness.DOWNLOADABLE:
            size = self._size(spec)
            return f"Downloading {spec.label}, {size}, once for this machine. You can go on meanwhile."
        return f"Preparing {spec.label}."

    def _former(self, visitor: Visitor) -> str:
        return f"{self._choices.of(visitor).spec.label} {self.stays}"

    def _reason(self, error: Exception, name: Any) -> str:
        del name
        return message_of(error)

    def _shown(self, visitor: Visitor, *, chosen: Spec | None = None, **state: Any) -> Update:
        active = self._choices.of(visitor).spec
        view = {
            "kind": self.kind,
            "choices": [self._choice(spec) for spec in self._choices.specs()],
            "active": active.name,
            "chosen": (chosen or active).name,
        }
        usual = {"note": "", "is_busy": False, "is_problem": False, "progress": None}
        return {
            self.kind: view | usual | state,
            f"{self.kind}_box": gr.Accordion(label=f"{self.title}: {active.label}"),
        }

    def _choice(self, spec: Spec) -> dict[str, Any]:
        standing = self._choices.standing(spec)
        action = f"Use {spec.label}"
        if standing.readiness is Readiness.DOWNLOADABLE:
            action = f"Download {self._size(spec)} and use {spec.label}"
        return {
            "name": spec.name,
            "label": spec.label,
            "facts": " · ".join(filter(None, self._facts(spec))),
            "state": standing.readiness.name.lower(),
            "words": _READINESS[standing.readiness],
            "description": spec.description,
            "action": None if standing.reason else action,
            "advice": standing.reason or self._advice(spec),
        }

    def _facts(self, spec: Spec) -> tuple[str, ...]:
        return self._size(spec), spec.licence


class SegmenterPicker(Picker[SegmenterSpec, Segmenter]):
    """Lets a visitor choose what answers the clicks."""

    kind = "segmenter"
    title = "Selection tool"
    stays = "still answers your clicks."
    has_changed = "answers your clicks now."
    outputs = ("segmenter", "segmenter_box")

    def __init__(self, *, visitors: VisitorStore, segmenters: Segmenters) -> None:
        super().__init__(visitors=visitors, choices=segmenters)

    def _adapt(self, token: str, thing: Segmenter) -> Update:
        clip = self._visitors.get(token).clip
        if clip is not None:
            clip.reopen(thing)
        return {}

    def _size(self, spec: SegmenterSpec) -> str:
        return size_words(spec.size_bytes) if spec.size_bytes else "no weights"

    def _advice(self, spec: SegmenterSpec) -> str:
        del spec
        return "Your clicks stay; what was followed through the clip is followed anew."

    def _reason(self, error: Exception, name: Any) -> str:
        if not isinstance(error, CheckpointError):
            return message_of(error)
        spec = self._choices.spec(name)
        _logger.warning("%s could not be loaded: %s", spec.name, error)
        is_missing = self._choices.standing(spec).readiness is Readiness.DOWNLOADABLE
        return (
            f"{spec.label} could not be {'downloaded' if is_missing else 'read'}. Check the network "
            "connection and the free space of the computer that runs this page, or start it with "
            f"--segmenter {spec.name} --checkpoint and a file that you have"
        )


OFFER_OUTPUTS = ("offer", "offer_stop", "offer_note", *SegmenterPicker.outputs)


@dataclass(kw_only=True, eq=False)
class SegmenterOffer:
    """Offers SAM beside the first mask, where the embedded segmenter answers because nothing else is here.

    `names` may be offered, the best first; there are none where the owner has chosen the segmenter.
    `is_reachable` says whether a download can begin.
    """

    visitors: VisitorStore
    segmenters: Segmenters
    picker: SegmenterPicker
    names: Sequence[str]
    is_reachable: Callable[[str], bool] = weights_reachable

    def show(self, *, token: str) -> Update:
        """Offer what can be had; nothing to who has it, and nothing without a network."""
        spec = self._offered()
        if spec is None or self.segmenters.of(self.visitors.get(token)).spec.name == spec.name:
            return {"offer": gr.Button(visible=False)}
        ready = self.segmenters.standing(spec).readiness is Readiness.READY
        if not ready and not self.is_reachable(spec.name):
            return {"offer": gr.Button(visible=False)}
        size = "" if ready else f", {size_words(spec.size_bytes)}"
        return {"offer": gr.Button(f"Sharper outlines: {spec.label}{size}", visible=True)}

    def accept(self, *, token: str) -> Iterator[Update]:
        """Fetch it and let it answer what was clicked; newcomers begin with it from then on."""
        spec, visitor = self._offered(), self.visitors.get(token)
        if spec is None:
            return
        for update in self.picker.use(token=token, segmenter=spec.name):
            view = update["segmenter"]
            is_busy = view["is_busy"]
            note = f'<p role="status">{html.escape(view["note"])}</p>'
            yield update | {
                "offer": gr.Button(visible=not is_busy),
                "offer_stop": gr.Button(visible=is_busy),
                "offer_note": note,
            }
        if visitor.segmenter is not None and visitor.segmenter.spec.name == spec.name:
            self.visitors.segmenter = visitor.segmenter
            yield {"offer": gr.Button(visible=False)}

    def stop(self, *, token: str) -> Update:
        """End the download, or the waiting for it."""
        return self.picker.stop(token=token)

    def _offered(self) -> SegmenterSpec | None:
        for name in self.names:
            spec = self.segmenters.spec(name)
            if self.segmenters.standing(spec).readiness is not Readiness.UNAVAILABLE:
                return spec
        return None


def _unknown_words(spec: ModelSpec, *prompts: Any) -> str:
    """Which words a model has never seen, each with the nearest that it has; "" where it knows all."""
    known = spec.vocabulary or ()
    words = re.findall(r"[^\W\d_]+", " ".join(str(prompt or "") for prompt in prompts).lower())
    unknown = []
    for word in dict.fromkeys(words if known else ()):
        if word not in known:
            near = " or ".join(get_close_matches(word, known, n=2))
            unknown.append(f"{word} (nearest: {near})" if near else word)
    return f"{spec.label} has never seen and will guess: {', '.join(unknown)}." if unknown else ""


class ModelPicker(Picker[ModelSpec, Editor]):
    """Lets a visitor choose what edits."""

    kind = "model"
    title = "Model"
    stays = "stays."
    stopped = "Stopped; what has arrived is kept."
    has_changed = "edits now. Its weights are loaded by the first edit."
    outputs = (
        *("model", "model_box", "masthead", "start_frame", "num_frames", "last_stage", "preset"),
        *model_fields(EditConfig()),
        *CLIP_OUTPUTS,
    )

    def __init__(self, *, visitors: VisitorStore, models: Models, clips: Clips) -> None:
        super().__init__(visitors=visitors, choices=models)
        self._models = models
        self._clips = clips

    def go_back(self, *, token: str) -> Update:
        """After an edit: show the first model again where the chosen one could not be loaded."""
        visitor = self._visitors.get(token)
        problem, visitor.model_problem = visitor.model_problem, ""
        if not problem:
            return {}
        first = self._choices.first
        note = f"{problem} {first.spec.label} edits again."
        return self._shown(visitor, note=note, is_problem=True) | self._adapt(token, first)

    def preset(
        self, *, token: str, preset: Any, source_prompt: Any, target_prompt: Any, mask_grow: Any
    ) -> Update:
        """What a preset sets with the visitor's model, and why the words chose it if they did."""
        visitor = self._visitors.get(token)
        spec, note = self._models.of(visitor).spec, ""
        if preset == FIRST_PRESET:
            source, target = (str(prompt or "").strip() for prompt in (source_prompt, target_prompt))
            clip = visitor.clip
            size, room = (clip.video.size, clip.rooms.get(target)) if clip else (None, None)
            choice = spec.choose_preset(source, target, size=size, room=room)
            preset = choice.preset
            grows = mask_grow == EditConfig.mask_grow
            note = choice.describe(spec.config(preset, mask_grow=choice.mask_grow if grows else 0))
        unknown = _unknown_words(spec, source_prompt, target_prompt)
        shown = render("notices", notices=[text for text in (note, unknown) if text])
        return preset_fields(spec.config(preset)) | {"preset_note": shown}

    def _adapt(self, token: str, thing: Editor) -> Update:
        spec = thing.spec
        controls = {
            "masthead": masthead_html(spec),
            "num_frames": gr.Slider(**frames_span(spec)),
            "last_stage": gr.Radio(choices=stage_choices(spec), value="", visible=bool(spec.stages)),
            "preset": FIRST_PRESET,
        }
        return controls | model_fields(spec.config(FIRST_PRESET)) | self._clips.adapt(token=token)

    def _size(self, spec: ModelSpec) -> str:
        return size_words(spec.size_bytes) if spec.size_bytes else "size unknown"

    def _facts(self, spec: ModelSpec) -> tuple[str, ...]:
        size = self._size(spec)
        if self._choices.standing(spec).readiness is Readiness.DOWNLOADABLE and spec.size_bytes:
            size = f"{size}, {describe_download(spec.size_bytes)}"
        return size, describe_memory(spec), spec.licence

    def _advice(self, spec: ModelSpec) -> str:
        advice = f"Takes {length_words(spec)} frames at {spec.fps:g} a second."
        if self._models.is_tight(spec):
            advice += (
                " Its usual length does not fit here: “How long will it take?” finds how many frames do."
            )
        if self._models.is_slow(spec):
            advice += " This page runs on a processor, on which each step of so large a model takes minutes."
        return advice
