"""The parts of the page: which components there are, by name, and where they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import gradio as gr
from gradio.components import Component

from dreammotion_core import EditConfig, ModelSpec, Surroundings, length_words, shortest_length
from web.components import (
    Example,
    board,
    choice_list,
    click_canvas,
    examples_row,
    losses_plot,
    masthead,
    player,
    refusal_line,
    runs_table,
    span_markers,
    suggestion_chips,
)
from web.form import FIRST_PRESET, HIDDEN_SETTINGS, MOST_STEADY, PRESET_NAMES, Refinement, shown_settings
from web.mask_exchange import MASK_FILE_TYPES, MASK_KINDS
from web.views import render

CLIP_ENDINGS = (
    *(".mov", ".mkv", ".webm", ".avi", ".mts", ".m2ts", ".m2t", ".ts", ".3gp", ".3g2", ".gif", ".apng"),
    *(".m4v", ".mpg", ".mpeg", ".vob", ".mod", ".tod", ".ogv", ".flv", ".f4v", ".wmv", ".asf", ".divx"),
    *(".mxf", ".dv", ".nut", ".rm", ".wtv", ".ivf", ".h264", ".264", ".hevc", ".265", ".mjpeg", ".avif"),
    ".webp",
)
"""Endings of files that are read, and that a browser or Python may not know as video."""

_NARROW: dict[str, Any] = {"size": "md", "scale": 0}
Parts = dict[str, Component]  # Components by their names; each function below adds its own.


def page_parts(
    spec: ModelSpec,
    *,
    examples: Sequence[Example],
    judges: Sequence[str],
    answer: Callable[[Any], dict[str, Any]],
    max_upload_mb: int,
) -> Parts:
    """Everything on the page, within its `with`; `judges` are names, the default first."""
    parts: Parts = {"token": gr.State(None), "masthead": masthead(spec)}
    with gr.Row(elem_classes="dm-source"):
        parts["example"] = examples_row(examples)
        parts["upload"] = gr.UploadButton(
            f"Upload a video (up to {max_upload_mb} MB)",
            file_types=["video", *CLIP_ENDINGS],
            elem_id="upload",
            scale=0,
            min_width=130,
        )
    with gr.Row(equal_height=False, elem_classes="dm-bench"):
        with gr.Column(elem_classes="dm-where"):
            selection_part(parts, answer)
        with gr.Column(elem_classes="dm-what"):
            prompt_part(parts)
        with gr.Column(elem_classes="dm-screen"):
            result_part(parts)
    with gr.Column(elem_classes="dm-groups"):
        outline_group(parts)
        change_group(parts, spec)
        clip_group(parts, spec, judges=judges)
    with gr.Tabs(elem_id="evidence"):
        with gr.Tab("How it went", id="runs"):
            runs_part(parts)
        with gr.Tab("What each part does", id="ablation"):
            ablation_part(parts)
    return parts


def selection_part(parts: Parts, answer: Callable[[Any], dict[str, Any]]) -> None:
    """The selection editor."""
    parts["canvas"] = click_canvas(answer)
    parts["span"] = span_markers()
    # Hidden until the first mask is there.
    with gr.Row(elem_id="sharper"):
        parts["offer"] = gr.Button("", size="sm", visible=False, elem_id="offer", scale=0, min_width=230)
        parts["offer_stop"] = gr.Button("Stop", size="sm", visible=False, elem_id="offer-stop", scale=0)
        parts["offer_note"] = gr.HTML("", elem_id="offer-note")
    parts["clip_notes"] = gr.HTML("", elem_id="clip-notes")


@contextmanager
def _settings_group(title: str, does: str, elem_id: str) -> Iterator[None]:
    """One of the three groups of settings; `does` says what they do to the picture."""
    with gr.Accordion(f"{title}\n{does}", open=False, elem_id=elem_id):
        yield


def outline_group(parts: Parts) -> None:
    """What can be done to the masks of the objects before the edit."""
    usual, shown = Refinement(), shown_settings(EditConfig())
    with _settings_group(
        "Selection", "Which part of the picture changes, and how soft its edge is.", "outline"
    ):
        with gr.Row():
            for name in ("mask_grow", "mask_edge", "mask_feather"):
                parts |= setting_field(name, shown)
        with gr.Row():
            fills = [("Nothing", "none"), ("Its holes", "holes"), ("The box round it", "box")]
            parts["mask_fill"] = gr.Radio(fills, value=usual.fill, label="Fill", elem_id="fill")
            parts["mask_steady"] = gr.Slider(
                0, MOST_STEADY, usual.steady, step=1, label="Steady in time (frames)", elem_id="steady"
            )
        parts["mask_invert"] = gr.Checkbox(
            usual.is_inverted, label="Change everything except what is selected", elem_id="invert"
        )
        mask_drawer(parts)
        with gr.Accordion("Selection tool", open=False, elem_id="segmenter-box") as box:
            parts["segmenter"] = choice_list("What answers your clicks", elem_id="segmenter")
        parts["segmenter_box"] = box


def mask_drawer(parts: Parts) -> None:
    """Import and export of masks."""
    kinds = list(MASK_KINDS)
    with gr.Accordion("Import and export masks", open=False, elem_id="mask-files"):
        with gr.Row():
            parts["mask_upload"] = gr.UploadButton(
                "Import masks", file_types=MASK_FILE_TYPES, elem_id="mask-upload", min_width=150, **_NARROW
            )
            gr.HTML(render("about_masks"), elem_id="mask-help")
        with gr.Row():
            parts["mask_export"] = gr.Button("Export masks", elem_id="mask-export", min_width=150, **_NARROW)
            parts["mask_kind"] = gr.Radio(
                kinds, value=kinds[0], label="Kind", container=False, elem_id="mask-kind", min_width=230
            )
        parts["mask_file"] = gr.DownloadButton(visible="hidden", elem_id="mask-file")


def prompt_part(parts: Parts) -> None:
    """What the clip should show, what it shows, and the button."""
    _heading("2", text="Say what it becomes")
    parts["source_prompt"] = gr.Textbox(
        label="The clip shows now", placeholder="a red car on a road", elem_id="source-prompt"
    )
    parts["target_prompt"] = gr.Textbox(
        label="It should show", placeholder="a blue car on a road", elem_id="target-prompt"
    )
    parts["suggestions"] = suggestion_chips()
    parts["edit"] = gr.Button("Edit", variant="primary", elem_id="edit")
    parts["refusal"] = refusal_line()
    parts["preset"] = gr.Radio(
        [(label, name) for name, label in PRESET_NAMES.items()],
        value=FIRST_PRESET,
        label="How",
        elem_id="preset",
    )
    parts["preset_note"] = gr.HTML("", elem_id="preset-note")


def change_group(parts: Parts, spec: ModelSpec) -> None:
    """Every setting that has no place of its own, as the first preset sets it."""
    settings, shown = EditConfig.settings(), shown_settings(spec.config(FIRST_PRESET))
    names = [name for name in settings if name not in (*HIDDEN_SETTINGS, *_FIELDS_ELSEWHERE)]
    special: dict[str, dict[str, Any]] = {
        "key_sites": {"placeholder": "one pattern a line", "lines": 2},
        "seed": {"placeholder": "a new one each time", "info": "the same seed gives the same result"},
    }
    does = "How far the picture moves to your words, and what of its shape and motion it keeps."
    with _settings_group("Change", does, "advanced"):
        for title, group in groupby(names, key=lambda name: settings[name].group):
            _group(title)
            with gr.Row(elem_classes="dm-settings"):
                for name in group:
                    parts |= setting_field(name, shown, **special.get(name, {}))


def clip_group(parts: Parts, spec: ModelSpec, *, judges: Sequence[str]) -> None:
    """Which part of the clip is edited, at what size, by what model, and what that takes."""
    shown = shown_settings(spec.config(FIRST_PRESET))
    stages = {"choices": stage_choices(spec), "visible": bool(spec.stages)}
    does = "Which seconds change, how sharp they become, by which model, and how long that takes."
    with _settings_group("Clip and model", does, "clip-settings"):
        with gr.Row():
            parts["start_frame"] = gr.Number(
                0, label="Start frame", precision=0, minimum=0, elem_id="start-frame", min_width=120
            )
            parts["num_frames"] = gr.Slider(
                **frames_span(spec), label="Number of frames", elem_id="num-frames"
            )
        with gr.Row(elem_classes="dm-settings"):
            parts |= setting_field("resolution_scale", shown)
            parts |= setting_field("last_stage", shown, **stages)
        with gr.Row(elem_id="preflight-row"):
            parts["preflight_check"] = gr.Button(
                "How long will it take?", size="sm", elem_id="preflight-check", scale=0, min_width=190
            )
            parts["preflight"] = gr.HTML("", elem_id="preflight")
        parts["preflight_use"] = gr.Button("", size="sm", visible=False, elem_id="preflight-use")
        with gr.Accordion("Model", open=True, elem_id="model-box") as box:
            parts["model"] = choice_list("What edits the clip", elem_id="model")
        parts["model_box"] = box
        parts["judge"] = gr.Radio(
            list(judges),
            value=judges[0],
            label="Words and frames are judged by",
            info="from the next run and the next ablation on; figures of different judges are never compared",
            visible=len(judges) > 1,
            elem_id="judge",
        )


def result_part(parts: Parts) -> None:
    """The player, and what is taken home from it."""
    _heading("3", text="Watch it change")
    parts["player"] = player()
    with gr.Row(elem_id="takeaway"):
        parts["stop"] = gr.Button("Stop", visible=False, elem_id="stop")
        parts["movie"] = gr.DownloadButton("Download the MP4", visible=False, elem_id="movie", min_width=120)
        parts["receipt"] = gr.DownloadButton("The receipt", visible=False, elem_id="receipt", min_width=120)


def runs_part(parts: Parts) -> None:
    """What was measured of the latest edit, and the table of all edits of the visitor."""
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            parts["card"] = gr.HTML("", elem_id="card")
        with gr.Column(min_width=300):
            parts["facts"] = gr.HTML("", elem_id="facts")
            parts["losses"] = losses_plot()
    parts["runs"] = runs_table()
    with gr.Row():
        parts["runs_export"] = gr.Button(
            "Download as CSV", visible=False, elem_id="runs-export", min_width=190, **_NARROW
        )
    parts["runs_file"] = gr.DownloadButton(visible="hidden", elem_id="runs-file")


def ablation_part(parts: Parts) -> None:
    """What each part of the method does."""
    gr.HTML(render("about_ablation"))
    with gr.Row():
        parts["board_run"] = gr.Button("Run the ablation", elem_id="board-run", min_width=190, **_NARROW)
        parts["board_stop"] = gr.Button("Stop", visible=False, elem_id="board-stop", min_width=110, **_NARROW)
        parts["board_file"] = gr.DownloadButton(
            "Download the board", visible=False, elem_id="board-file", min_width=190, **_NARROW
        )
    parts["board_status"] = gr.HTML("", elem_id="board-status")
    parts["board"] = board()


def notice_part(found: Surroundings) -> None:
    """What was asked for and is not so, and who can change it; nothing where all is as asked."""
    if not found.notices:
        return
    gr.HTML(render("place_notice", found=found), elem_id="place-notice")
    if found.space:
        gr.DuplicateButton("Duplicate this Space", size="sm", elem_id="duplicate", scale=0)


def place_line(found: Surroundings) -> None:
    """Where the page runs, what it runs, and who chose each."""
    gr.HTML(render("place", text=found.describe()), elem_id="place")


_FIELDS_ELSEWHERE = ("mask_grow", "mask_edge", "mask_feather", "resolution_scale", "last_stage")
"""Settings that have their place outside the drawer."""

_WIDE_FIELDS = (
    *("guidance_scale", "timestep_order", "direction_weighting", "key_sites", "negative_prompt"),
    *("use_mask", "mask_matching", "keep_detail", "colour_smoothing", "resolution_scale"),
)
"""Settings that take a row of the drawer for themselves."""


def setting_field(name: str, shown: Mapping[str, Any], **options: Any) -> dict[str, Component]:
    """The field of a setting of the library by its name; of a range, one for each end.

    `shown` is from `shown_settings`; `options` of the component come before those that follow from the
    setting.
    """
    setting, value = EditConfig.settings()[name], shown.get(name)
    label = f"{setting.label} ({setting.unit})" if setting.unit else setting.label
    common: dict[str, Any] = {"label": label, "info": setting.help, "elem_id": name.replace("_", "-")}
    common["elem_classes"] = ["dm-wide"] if name in _WIDE_FIELDS else []
    if setting.span is not None:
        common |= dict(zip(("minimum", "maximum", "step"), setting.span, strict=True))
    if setting.choices:
        common["choices"] = [(called, choice) for choice, called in setting.choices.items()]
    common |= options
    if name == "timestep_range":
        low, high = shown["timestep_low"], shown["timestep_high"]
        return {
            "timestep_low": gr.Slider(value=low, **common | {"label": f"{label} from"}),
            "timestep_high": gr.Slider(value=high, **common | {"label": f"{label} to", "elem_id": None}),
        }
    if isinstance(value, bool):
        # The help of a flag is about its absence.
        return {name: gr.Checkbox(value, **common | {"info": None})}
    if "choices" in common:
        kind: type[Component] = gr.Radio if len(common["choices"]) < 4 else gr.Dropdown
    elif setting.span is not None:
        kind = gr.Slider
    else:
        kind = gr.Number if isinstance(value, float) else gr.Textbox
    return {name: kind(value=value, **common)}


def _heading(number: str, *, text: str) -> None:
    mark = f"<span>{number}</span> " if number else ""
    gr.HTML(f"<h2>{mark}{text}</h2>", elem_classes="dm-step")


def _group(title: str) -> None:
    gr.HTML(f"<h3>{title}</h3>", elem_classes="dm-group")


def frames_span(spec: ModelSpec) -> dict[str, Any]:
    """The slider of the number of frames, as a model takes them."""
    return {
        "minimum": shortest_length(spec),
        "maximum": spec.fit_length(spec.max_frames),
        "step": spec.frame_step,
        "value": spec.num_frames,
        "info": f"{spec.label} takes {length_words(spec)}",
    }


def stage_choices(spec: ModelSpec) -> list[tuple[str, str]]:
    """After which stages of a cascade one may stop; "" runs them all."""
    return [("All stages", ""), *((name, name) for name in spec.stages[:-1])]
