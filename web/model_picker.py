"""Choosing the model that edits: said before it costs anything, and nothing that still fits is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from weakref import WeakKeyDictionary

import gradio as gr

from dreammotion_core import EditConfig, ModelSpec, describe_memory, length_words, shortest_length
from web.components import masthead_html
from web.drawer import frames_info, stage_choices
from web.failures import message_of, told_to_visitor
from web.models import Models, State
from web.opening import CLIP_OUTPUTS, Clips
from web.downloading import ProgressWords, size_words
from web.form import FIRST_PRESET, model_fields, preset_fields
from web.visitors import Visitor, VisitorStore
from web.wiring import Update

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

    def stop(self, token: str) -> None:
        """End the visitor's download, or the waiting for it."""
        with told_to_visitor():
            stop = self._stops.get(self._visitors.get(token))
            if stop is not None:
                stop.set()

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
