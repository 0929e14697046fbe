"""The browser components: each is a `gr.HTML` whose markup and script are files in static/.

The markup has no placeholders for values, because Gradio would rebuild it, and wipe the canvases, at
every update; the scripts watch the value instead.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from dreammotion_core import SYNCHRONISE, ModelSpec, read_video
from web.encoding import encode_loop
from web.examples import Example

_STATIC = Path(__file__).parent / "static"

_CANVAS_PARTS = ("drawing", "server", "objects", "timeline", "pointer")

CSS_FILES = tuple(sorted(_STATIC.glob("*.css")))
"""For `launch(css_paths=...)`."""


def click_canvas(answer: Callable[[Any], dict[str, Any]], *, elem_id: str = "canvas") -> gr.HTML:
    """The selection editor. Takes the views of `web.selection_views`.

    It asks for following by the event ``play`` and for its end by ``stop``.

    Args:
        answer: changes and shows the objects; called past the queue, with one JSON argument.
        elem_id: in the page.
    """

    # Gradio marks the function that it is given, which a bound method does not allow.
    def ask(payload: Any) -> dict[str, Any]:
        return answer(payload)

    return gr.HTML(
        value=None,
        html_template=_read("click_canvas.html"),
        js_on_load="".join(_read(f"click_canvas_{part}.js") for part in _CANVAS_PARTS),
        server_functions=[ask],
        elem_id=elem_id,
    )


def player(*, elem_id: str = "player") -> gr.HTML:
    """A looping clip with filmstrip and wipe compare. Takes `web.views.player_view`."""
    return gr.HTML(
        value=None, html_template=_read("player.html"), js_on_load=_read("player.js"), elem_id=elem_id
    )


def losses_plot(*, elem_id: str = "losses") -> gr.HTML:
    """Three small live curves. Takes `web.views.losses_view`."""
    return gr.HTML(
        value=None, html_template=_read("losses.html"), js_on_load=_read("losses.js"), elem_id=elem_id
    )


def examples_row(examples: Sequence[Example], *, elem_id: str = "examples") -> gr.HTML:
    """Moving pictures of the examples. Its value names the one that was clicked (event ``select``)."""
    cards = "".join(_example_card(example) for example in examples)
    return gr.HTML(
        value=None,
        html_template=f'<div class="dm-examples" role="group" aria-label="Examples">{cards}</div>',
        js_on_load=_read("examples.js"),
        elem_id=elem_id,
        visible=bool(examples),
    )


def choice_list(label: str, *, elem_id: str) -> gr.HTML:
    """Things to choose from, that may have to be downloaded.

    Takes the views of `web.segmenters` or `web.models`; its value names the choice (event ``select``), and
    a download is ended by the event ``stop``.

    Args:
        label: what the choice is about, for screen readers.
        elem_id: in the page.
    """
    return gr.HTML(
        value=None,
        html_template=_read("picker.html").replace("{label}", label),
        js_on_load=_read("picker.js"),
        elem_id=elem_id,
    )


def board(*, elem_id: str = "board") -> gr.HTML:
    """Clips that run in step, with what was measured of them. Takes an `AblationBoard` as a dictionary."""
    return gr.HTML(
        value=None,
        html_template=_read("board.html"),
        js_on_load=f"{SYNCHRONISE}{_read('board.js')}",
        elem_id=elem_id,
    )


def masthead(model: ModelSpec) -> gr.HTML:
    """What this is, which model is active, and what that model knows. Takes `masthead_html`."""
    return gr.HTML(masthead_html(model), js_on_load=_read("masthead.js"), elem_id="masthead")


def masthead_html(model: ModelSpec) -> str:
    """The masthead while a model is active."""
    words = ", ".join(model.vocabulary or ())
    vocabulary = f"<details><summary>The words it knows</summary><p>{html.escape(words)}</p></details>"
    return _read("masthead.html").format(
        model=html.escape(model.label),
        licence=html.escape(model.licence),
        description=html.escape(model.description),
        vocabulary=vocabulary if words else "",
    )


def _example_card(example: Example) -> str:
    video = read_video(example.path)
    title = html.escape(example.source_prompt)
    moving, still = (
        encode_loop(frames, fps=video.fps, side=160) for frames in (video.frames, video.frames[:1])
    )
    return (
        f'<button type="button" data-name="{html.escape(example.name)}" aria-label="Try: {title}">'
        f'<picture><source srcset="{still}" media="(prefers-reduced-motion: reduce)">'
        f'<img src="{moving}" alt="" draggable="false"></picture>'
        f"<span>{title}</span></button>"
    )


def _read(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")
