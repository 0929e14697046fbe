"""The browser components and the theme.

Markup and script of a `gr.HTML` are files in static/. The markup has no placeholders for values, because
Gradio would rebuild it, and wipe the canvases, at every update; the scripts watch the value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dreammotion_core import SYNCHRONISE, ModelSpec, read_video
from web.encoding import encode_loop
from web.runs import runs_html
from web.views import render

EDIT_NAME = "edit.mp4"  # Beside the clip of an example; made by `benchmarks.suggestions --keep`.
THUMBNAIL_SIDE = 84  # Pixels; twice as many as on the page, for sharp screens.


@dataclass(frozen=True)
class Example:
    """A clip with prompts that suit it.

    Attributes:
        click: (x, y) in its pixels, a point on the object.
        rooms: target prompt -> pixels by which the selection grows for it, where the rule grows it too
            little.
        edit: a finished edit of it by the first target prompt; None where none was made.
    """

    name: str
    path: Path
    source_prompt: str
    target_prompts: tuple[str, ...]
    click: tuple[float, float]
    rooms: Mapping[str, int] = field(default_factory=dict)
    edit: Path | None = None


def load_examples(folder: Path) -> tuple[Example, ...]:
    """Read every ``<name>/clip.mp4`` with its ``meta.json`` in a folder, in order of name."""
    found = []
    for path in sorted(folder.glob("*/meta.json")):
        meta = json.loads(path.read_text(encoding="utf-8"))
        shown, wanted = meta["source_prompt"], tuple(meta["target_prompts"])
        click = meta["click"]["x"], meta["click"]["y"]
        clip, edit, rooms = path.with_name("clip.mp4"), path.with_name(EDIT_NAME), meta.get("rooms", {})
        made = edit if edit.exists() else None
        found.append(Example(path.parent.name, clip, shown, wanted, click, rooms, made))
    return tuple(found)


_STATIC = Path(__file__).parent / "static"
_CANVAS_PARTS = ("drawing", "server", "objects", "timeline", "zoom", "pointer")
CSS_FILES = tuple(sorted(_STATIC.glob("*.css")))
ICON_FILE = _STATIC / "icon.svg"


def click_canvas(answer: Callable[[Any], dict[str, Any]]) -> gr.HTML:
    """The selection editor, which takes the views of `web.selection_views`.

    It asks for following by the event ``play`` and for its end by ``stop``. `answer` changes and shows the
    objects; it is called past the queue, with one JSON argument.
    """

    # Gradio marks the function that it is given, which a bound method does not allow.
    def ask(payload: Any) -> dict[str, Any]:
        return answer(payload)

    script = "".join(_read(f"click_canvas_{part}.js") for part in _CANVAS_PARTS)
    return _component("canvas", _read("click_canvas.html"), script, server_functions=[ask])


def player() -> gr.HTML:
    """A looping clip with filmstrip and wipe compare. Takes `web.views.player_view`."""
    return _component("player", _read("player.html"), _read("player.js"))


def suggestion_chips() -> gr.HTML:
    """Prompts to try, as buttons. Takes ``{"choices": [...]}``; the event ``select`` gives the chosen one."""
    return _component("suggestions", _read("suggestions.html"), _read("suggestions.js"))


def refusal_line() -> gr.HTML:
    """Why an edit did not begin, beside what has to be done. Takes `web.views.refusal_view`."""
    return _component("refusal", _read("refusal.html"), _read("refusal.js"))


def span_markers() -> gr.HTML:
    """In and out markers over a file of which a part is used. Takes `web.opening.span_view`.

    The event ``select`` gives ``{"start", "count"}``, in frames at the model's rate.
    """
    return _component("span", _read("span.html"), _read("span.js"))


def runs_table() -> gr.HTML:
    """The visitor's edits, HTML of `web.runs.runs_html`; the event ``select`` gives the number of one."""
    script = _read("runs.js")
    template = '<div class="dm-run-list"></div>'
    return gr.HTML(runs_html(()), html_template=template, js_on_load=script, elem_id="runs")


def losses_plot() -> gr.HTML:
    """Three small live curves. Takes `web.views.losses_view`."""
    return _component("losses", _read("losses.html"), _read("losses.js"))


def board() -> gr.HTML:
    """Clips that run in step, with what was measured of them. Takes an `AblationBoard` as a dictionary."""
    return _component("board", _read("board.html"), f"{SYNCHRONISE}{_read('board.js')}")


def choice_list(label: str, *, elem_id: str) -> gr.HTML:
    """Things to choose from, that may have to be downloaded; `label` is for screen readers.

    Takes the views of `web.pickers`. The event ``select`` gives the choice, ``stop`` ends a download.
    """
    return _component(elem_id, render("picker", label=label), _read("picker.js"))


def examples_row(examples: Sequence[Example]) -> gr.HTML:
    """Moving pictures of the examples, each beside a finished edit of it where there is one.

    Its value names the one that was clicked (event ``select``), or the one that is open.
    """
    cards = []
    for example in examples:
        clips = [read_video(path) for path in (example.path, example.edit) if path is not None]
        length = min(len(clip) for clip in clips)
        frames = np.concatenate([_thumbnails(clip.frames[:length]) for clip in clips], axis=2)
        moving, still = (
            encode_loop(part, fps=clips[0].fps, side=THUMBNAIL_SIDE * len(clips))
            for part in (frames, frames[:1])
        )
        cards.append({"example": example, "moving": moving, "still": still, "width": len(clips)})
    template = render("examples", examples=cards)
    return _component("examples", template, _read("examples.js"), visible=bool(examples))


def _thumbnails(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Square pictures of (F, H, W, 3) uint8 RGB frames, cut to their middle."""
    return np.stack(
        [np.asarray(ImageOps.fit(Image.fromarray(frame), (THUMBNAIL_SIDE,) * 2)) for frame in frames]
    )


def masthead(model: ModelSpec) -> gr.HTML:
    """What this is, which model is active, and what that model knows. Takes `masthead_html`."""
    return gr.HTML(masthead_html(model), js_on_load=_read("masthead.js"), elem_id="masthead")


def masthead_html(model: ModelSpec) -> str:
    """The masthead while a model is active."""
    return render("masthead", model=model)


def _component(elem_id: str, template: str, script: str, **options: Any) -> gr.HTML:
    return gr.HTML(value=None, html_template=template, js_on_load=script, elem_id=elem_id, **options)


def _read(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")


_ACCENT = "#b01e55"
# Colours in light and dark, and Gradio's names of what has them.
_COLOURS = {
    ("#f7f4ee", "#15130f"): ("body_background_fill", "background_fill_secondary"),
    ("#fffdf9", "#1e1b16"): (
        *("background_fill_primary", "block_background_fill", "button_secondary_background_fill"),
    ),
    ("#1f1c18", "#efe9df"): ("body_text_color", "block_title_text_color", "button_secondary_text_color"),
    ("#6c655a", "#a79f91"): ("body_text_color_subdued", "block_label_text_color"),
    ("#e4ddd1", "#37322a"): (
        *("border_color_primary", "block_border_color"),
        *("input_border_color", "button_secondary_border_color"),
    ),
    (_ACCENT, "#ff7aa5"): (
        *("border_color_accent", "input_border_color_focus", "slider_color", "link_text_color"),
        *("checkbox_background_color_selected", "checkbox_border_color_selected"),
    ),
    (_ACCENT, "#bd2f66"): ("button_primary_background_fill", "button_primary_border_color"),
    ("#8f1443", "#c63a70"): ("button_primary_background_fill_hover",),
    ("#ffffff", "#ffffff"): ("button_primary_text_color",),
    ("#f7f4ee", "#2a251e"): ("button_secondary_background_fill_hover",),
    ("#ffffff", "#262219"): ("input_background_fill",),
    ("transparent", "transparent"): ("checkbox_label_background_fill",),
}
# The same in light and dark.
_SETTINGS = {
    "color_accent": _ACCENT,
    "block_shadow": "none",
    "block_title_text_weight": "600",
    "button_border_width": "1px",
    "input_border_width": "1px",
    "button_large_text_weight": "600",
}


def page_theme() -> gr.themes.Base:
    """The theme for `launch`. Light and dark follow the visitor's system; no font is fetched."""
    sans = (
        *("Inter", "ui-sans-serif", "system-ui", "Segoe UI"),
        *("Helvetica Neue", "Liberation Sans", "sans-serif"),
    )
    mono = ("ui-monospace", "SF Mono", "Menlo", "Liberation Mono", "monospace")
    theme = gr.themes.Base(font=sans, font_mono=mono, radius_size=gr.themes.sizes.radius_md)
    coloured = {name: light for (light, _), names in _COLOURS.items() for name in names}
    dark = {f"{name}_dark": colour for (_, colour), names in _COLOURS.items() for name in names}
    return theme.set(**_SETTINGS, **coloured, **dark)
