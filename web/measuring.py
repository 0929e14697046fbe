"""The question before an edit: how long will it take, does it fit, and what would fit instead?"""

from __future__ import annotations

import html
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gradio as gr

from dreammotion_core import Preflight, Trial, describe_preflight
from web.clip import Clip
from web.device import DeviceQueue
from web.editing import wait_for_device
from web.models import Models
from web.selecting import require_clip
from web.settings import read_settings
from web.visitors import Visitor, VisitorStore
from web.wiring import Update

PREFLIGHT_OUTPUTS = ("player", "preflight", "preflight_use", "stop")
"""Names of the components that a measurement changes."""

PROPOSAL_OUTPUTS = ("num_frames", "resolution_scale", "preflight_use")
"""Names of the components that taking the proposal changes."""


class Measurements:
    """Measures edits for visitors, one at a time on the device.

    Args:
        visitors: who is here.
        device: the line before the device, shared with the edits.
        models: whose editors are measured.
    """

    def __init__(self, *, visitors: VisitorStore, device: DeviceQueue, models: Models) -> None:
        self._visitors = visitors
        self._device = device
        self._models = models

    def run(self, *, token: str, **form: Any) -> Iterator[Update]:
        """Try a step of the edit that the form asks for, and smaller ones where it does not fit."""
        visitor = self._visitors.get(token)
        clip, editor = require_clip(visitor), self._models.of(visitor)
        config = read_settings(form, spec=editor.spec)
        with visitor.job() as stop:
            hidden = gr.Button(visible=False)
            yield {"stop": gr.Button(visible=True), "preflight_use": hidden}
            yield _said(f"Trying a step with {editor.spec.label}…")
            with self._device.enter() as ticket:
                yield from wait_for_device(ticket, clip, stop)
                if not stop.is_set():
                    self._models.make_room(editor)
                    with closing(editor.measure(clip.video, config=config)) as found:
                        for each in found:
                            if stop.is_set():
                                break
                            yield _shown(each, clip, visitor)
            if stop.is_set():
                yield _said("Stopped. Nothing was changed.")

    def accept(self, *, token: str) -> Update:
        """Take what was proposed into the form."""
        visitor = self._visitors.get(token)
        proposal, visitor.proposal = visitor.proposal, None
        if proposal is None:
            return {}
        return {
            "num_frames": proposal.num_frames,
            "resolution_scale": proposal.resolution_scale,
            "preflight_use": gr.Button(visible=False),
        }


def _shown(each: Trial | Preflight, clip: Clip, visitor: Visitor) -> Update:
    if isinstance(each, Trial):
        verdict = "fits" if each.fits else "does not fit"
        asked = "" if each.num_frames == len(clip.video) else f" of {len(clip.video)}"
        return _said(f"{each.num_frames}{asked} frames at {each.grid[1]}x{each.grid[0]}: {verdict}…")
    visitor.proposal = None if each.asked.fits else each.proposal
    sentences = describe_preflight(each)
    state = "good" if each.asked.fits else "bad"
    text = " ".join(html.escape(sentence) for sentence in sentences[1:])
    update = {"preflight": f'<p data-state="{state}"><strong>{html.escape(sentences[0])}</strong> {text}</p>'}
    if visitor.proposal is None:
        return update
    words = f"Use {visitor.proposal.num_frames} frames"
    if visitor.proposal.resolution_scale < 1:
        words += f" at {visitor.proposal.resolution_scale:g} of the resolution"
    return update | {"preflight_use": gr.Button(words, visible=True)}


def _said(text: str) -> Update:
    return {"preflight": f"<p>{html.escape(text)}</p>"}
