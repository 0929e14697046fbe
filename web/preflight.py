"""The question before an edit: how long will it take, does it fit, and what would fit instead?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from web.device import DeviceQueue
from web.editing import wait_for_device
from web.models import Models
from web.proposals import PREFLIGHT_PARTS, said, try_settings
from web.selection import require_clip
from web.form import read_settings
from web.visitors import VisitorStore
from web.wiring import Update

PREFLIGHT_OUTPUTS = ("player", *PREFLIGHT_PARTS, "stop")
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
            yield said(f"Trying a step with {editor.spec.label}…")
            with self._device.enter() as ticket:
                yield from wait_for_device(ticket, clip, stop)
                if not stop.is_set():
                    self._models.make_room(editor)
                    yield from try_settings(editor, clip=clip, config=config, visitor=visitor, stop=stop)
            if stop.is_set():
                yield said("Stopped. Nothing was changed.")

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
