"""The question before an edit: how long will it take, does it fit, and what would fit instead?"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gradio as gr

from dreammotion_core import ConfigError, EditConfig, Preflight, Trial, describe_preflight
from web.clip import Clip
from web.device import DeviceQueue
from web.editor import Editor
from web.form import read_settings, whole_number
from web.lending import HostedEditor
from web.models import Models
from web.selection import require_clip
from web.views import Update, render, wait_for_device
from web.visitors import Visitor, VisitorStore

PREFLIGHT_PARTS = ("preflight", "preflight_use")


def try_settings(
    editor: Editor, *, clip: Clip, config: EditConfig, visitor: Visitor, stop: threading.Event
) -> Iterator[Update]:
    """Measure an edit, and smaller ones if it does not fit; remember the proposal for the visitor.

    The caller holds the device.
    """
    with closing(editor.measure(clip.video, config=config)) as found:
        for each in found:
            if stop.is_set():
                return
            yield _tried(each, clip) if isinstance(each, Trial) else _offered(each, visitor)


def said(text: str) -> Update:
    """A sentence where the verdict will stand."""
    return {"preflight": render("verdict", state="", verdict="", text=text)}


def _tried(trial: Trial, clip: Clip) -> Update:
    verdict = "fits" if trial.fits else "does not fit"
    asked = "" if trial.num_frames == len(clip.video) else f" of {len(clip.video)}"
    return said(f"{trial.num_frames}{asked} frames at {trial.grid[1]}x{trial.grid[0]}: {verdict}…")


def _offered(found: Preflight, visitor: Visitor) -> Update:
    proposal = None if found.asked.fits else found.proposal
    visitor.proposal = None
    verdict, *others = describe_preflight(found)
    state = "good" if found.asked.fits else "bad"
    update = {"preflight": render("verdict", state=state, verdict=verdict, text=" ".join(others))}
    if proposal is None:
        return update
    visitor.proposal = {"num_frames": proposal.num_frames, "resolution_scale": proposal.resolution_scale}
    words = f"Use {proposal.num_frames} frames"
    if proposal.resolution_scale < 1:
        words += f" at {proposal.resolution_scale:g} of the resolution"
    return update | {"preflight_use": gr.Button(words, visible=True)}


def borrowed(editor: HostedEditor, num_frames: int, config: EditConfig, visitor: Visitor) -> Update:
    """What an edit would borrow, and a smaller one where that is too long; nothing is borrowed to know it."""
    loan = editor.loan(num_frames, config)
    text = loan.describe()
    state = "good" if loan.fits else "bad"
    text = text[:1].upper() + text[1:]
    update = {"preflight": render("verdict", state=state, verdict="", text=text)}
    visitor.proposal = None
    if loan.is_for_all or not loan.steps:
        return update | {"preflight_use": gr.Button(visible=False)}
    visitor.proposal = {"num_optimization_steps": loan.steps}
    return update | {"preflight_use": gr.Button(f"Use {loan.steps} steps", visible=True)}


PREFLIGHT_OUTPUTS = ("player", *PREFLIGHT_PARTS, "stop")
PROPOSAL_OUTPUTS = ("num_optimization_steps", "num_frames", "resolution_scale", "preflight_use")


@dataclass(kw_only=True, eq=False)
class Measurements:
    """Measures edits for visitors, one at a time on the device that edits run on."""

    visitors: VisitorStore
    device: DeviceQueue
    models: Models

    def run(self, *, token: str, **form: Any) -> Iterator[Update]:
        """Try a step of the edit in the form, and smaller edits if it does not fit."""
        visitor = self.visitors.get(token)
        clip, editor = require_clip(visitor), self.models.of(visitor)
        config = read_settings(form, spec=editor.spec)
        if isinstance(editor, HostedEditor):
            yield borrowed(editor, len(clip.video), config, visitor)
            return
        self.models.check(editor, config, num_frames=len(clip.video))
        with visitor.job() as stop:
            hidden = gr.Button(visible=False)
            yield {"stop": gr.Button(visible=True), "preflight_use": hidden}
            yield said(f"Trying a step with {editor.spec.label}…")
            with self.device.enter(visitor) as ticket:
                yield from wait_for_device(ticket, clip, stop)
                if not stop.is_set():
                    self.models.begin(editor, visitor)
                    yield from try_settings(editor, clip=clip, config=config, visitor=visitor, stop=stop)
            if stop.is_set():
                yield said("Stopped. Nothing was changed.")

    def foretell(self, *, token: str, num_frames: Any, **form: Any) -> Update:
        """Say what a loan would take while the form changes; nothing where the form cannot be used yet."""
        visitor = self.visitors.get(token)
        editor = self.models.of(visitor)
        if not isinstance(editor, HostedEditor):
            return {}
        try:
            config = read_settings(form, spec=editor.spec)
            frames = whole_number("the number of frames", num_frames, low=2, high=editor.spec.max_frames)
        except ConfigError:
            return {}
        return borrowed(editor, frames, config, visitor)

    def accept(self, *, token: str) -> Update:
        """Put the proposal into the form."""
        visitor = self.visitors.get(token)
        proposal, visitor.proposal = visitor.proposal, None
        if proposal is None:
            return {}
        return {**proposal, "preflight_use": gr.Button(visible=False)}
