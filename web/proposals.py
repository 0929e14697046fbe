"""What fits into memory: found by trying, said in plain words, and offered by one click."""

from __future__ import annotations

import html
import threading
from collections.abc import Iterator
from contextlib import closing

import gradio as gr

from dreammotion_core import EditConfig, Preflight, Trial, describe_preflight
from web.clip import Clip
from web.editor import Editor
from web.visitors import Visitor
from web.wiring import Update

PREFLIGHT_PARTS = ("preflight", "preflight_use")
"""Names of the components that say and offer what fits."""


def try_settings(
    editor: Editor, *, clip: Clip, config: EditConfig, visitor: Visitor, stop: threading.Event
) -> Iterator[Update]:
    """Measure an edit, and smaller ones where it does not fit; remember the proposal for the visitor.

    Only for who holds the device.

    Args:
        editor: what edits.
        clip: what would be edited.
        config: as it would be edited.
        visitor: who is offered what fits.
        stop: ends it after the trial that runs.
    """
    with closing(editor.measure(clip.video, config=config)) as found:
        for each in found:
            if stop.is_set():
                return
            yield _tried(each, clip) if isinstance(each, Trial) else _offered(each, visitor)


def said(text: str) -> Update:
    """A sentence where the verdict will stand."""
    return {"preflight": f"<p>{html.escape(text)}</p>"}


def _tried(trial: Trial, clip: Clip) -> Update:
    verdict = "fits" if trial.fits else "does not fit"
    asked = "" if trial.num_frames == len(clip.video) else f" of {len(clip.video)}"
    return said(f"{trial.num_frames}{asked} frames at {trial.grid[1]}x{trial.grid[0]}: {verdict}…")


def _offered(found: Preflight, visitor: Visitor) -> Update:
    visitor.proposal = None if found.asked.fits else found.proposal
    sentences = describe_preflight(found)
    state = "good" if found.asked.fits else "bad"
    text = " ".join(html.escape(sentence) for sentence in sentences[1:])
    update = {"preflight": f'<p data-state="{state}"><strong>{html.escape(sentences[0])}</strong> {text}</p>'}
    if visitor.proposal is None:
        return update
    words = f"Use {visitor.proposal.num_frames} frames"
    if visitor.proposal.resolution_scale < 1:
        words += f" at {visitor.proposal.resolution_scale:g} of the resolution"
    return update | {"preflight_use": gr.Button(words, visible=True)}
