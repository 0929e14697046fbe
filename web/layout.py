"""The parts of the page: which components each has, by name.

The drawers under the canvas: what refines the masks, and what brings them in and out.

The drawer of settings: each of an edit, as the first preset of the page sets it.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any
from urllib.parse import quote

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
)
from web.form import FIRST_PRESET, HIDDEN_SETTINGS, MOST_STEADY, PRESET_NAMES, Refinement, shown_settings
from web.mask_exchange import MASK_FILE_TYPES, MASK_KINDS
from web.runs import runs_html


def notice_part(found: Surroundings) -> None:
    """What was asked for and is not so, and who can change it; nothing where all is as asked."""
    if not found.notices:
        return
    sentences = "".join(f"<p>{html.escape(notice)}</p>" for notice in found.notices)
    if found.space:
        settings = f"https://huggingface.co/spaces/{quote(found.space)}/settings"
        sentences += (
            f'<p>The owner changes this in its <a href="{settings}" target="_blank">settings</a>, '
            "everybody else in a duplicate.</p>"
        )
    gr.HTML(f'<div class="dm-notices" role="status">{sentences}</div>', elem_id="place-notice")
    if found.space:
        gr.DuplicateButton("Duplicate this Space", size="sm", elem_id="duplicate", scale=0)


def place_line(found: Surroundings) -> None:
    """Where the page runs, what it runs, and who chose each."""
    gr.HTML(f'<p class="dm-about">{html.escape(found.describe())}</p>', elem_id="place")


def outline_drawer() -> dict[str, Component]:
    """What can be done to the masks of the objects before the edit, by name."""
    usual, shown = Refinement(), shown_settings(EditConfig())
    with gr.Accordion("Refine the outline", open=False, elem_id="outline"):
        with gr.Row():
            grow, feather = (setting_field(name, shown) for name in ("mask_grow", "mask_feather"))
        with gr.Row():
            fills = [("Nothing", "none"), ("Its holes", "holes"), ("The box round it", "box")]
            fill = gr.Radio(fills, value=usual.fill, label="Fill", elem_id="fill")
            steady = gr.Slider(
                0, MOST_STEADY, usual.steady, step=1, label="Steady in time (frames)", elem_id="steady"
            )
        inverted = gr.Checkbox(
            usual.is_inverted, label="Change everything except what is selected", elem_id="invert"
        )
    return grow | feather | {"mask_fill": fill, "mask_steady": steady, "mask_invert": inverted}


def mask_drawer() -> dict[str, Component]:
    """Import and export of masks, by name."""
    kinds = list(MASK_KINDS)
    with gr.Accordion("Masks in and out", open=False, elem_id="mask-files"):
        with gr.Row():
            upload = gr.UploadButton(
                "Import masks",
                file_types=MASK_FILE_TYPES,
                size="md",
                elem_id="mask-upload",
                scale=0,
                min_width=150,
            )
            gr.HTML(
                "<p>One for each frame, of the clip's size: a zip of PNG, an npz or an mp4. "
                "They count as they are, and clicks correct them.</p>",
                elem_id="mask-help",
            )
        with gr.Row():
            export = gr.Button("Export masks", size="md", elem_id="mask-export", scale=0, min_width=150)
            kind = gr.Radio(
                kinds, value=kinds[0], label="Kind", container=False, elem_id="mask-kind", min_width=230
            )
        file = gr.DownloadButton(visible="hidden", elem_id="mask-file")
    return {"mask_kind": kind, "mask_export": export, "mask_upload": upload, "mask_file": file}


_ABOUT_ABLATION = """<p class="dm-about">What does each part of the method do? One click edits your clip
five times with the same words, seed and settings: by the words alone (<b>DDS</b>), with the part that keeps
the shape (<b>S-SSM</b>), with the part that keeps the motion (<b>T-SSM</b>), with both, and with both but
without your selection. It takes about as long as five edits; <b>Stop</b> keeps what is finished.</p>"""


def page_parts(
    spec: ModelSpec,
    *,
    examples: Sequence[Example],
    judges: Sequence[str],
    answer: Callable[[Any], dict[str, Any]],
) -> dict[str, Component]:
    """Everything on the page, by name; within its `with`.

    Args:
        spec: of the model that edits for newcomers.
        examples: that may be opened.
        judges: names of what may judge words and frames, the usual one first.
        answer: as `click_canvas` takes it.
    """
    parts: dict[str, Component] = {"token": gr.State(None), "masthead": masthead(spec)}
    parts |= clip_row(examples)
    with gr.Row(equal_height=False, elem_classes="dm-bench"):
        with gr.Column(min_width=320):
            parts |= selection_part(answer) | prompt_part() | advanced_drawer(spec, judges=judges)
        with gr.Column(min_width=320, elem_classes="dm-screen"):
            parts |= result_part()
    return parts | evidence_part()


def clip_row(examples: Sequence[Example]) -> dict[str, Component]:
    """Where a clip comes from, by name."""
    with gr.Row(elem_classes="dm-source"):
        row = examples_row(examples)
        upload = gr.UploadButton(
            "Upload a video", file_types=["video"], elem_id="upload", scale=0, min_width=160
        )
    return {"example": row, "upload": upload}


def selection_part(answer: Callable[[Any], dict[str, Any]]) -> dict[str, Component]:
    """The selection editor and what belongs to it, by name.

    Args:
        answer: as `click_canvas` takes it.
    """
    _heading("1", text="Click the object")
    canvas = click_canvas(answer)
    notes = gr.HTML("", elem_id="clip-notes")
    outline, files = outline_drawer(), mask_drawer()
    with gr.Accordion("Clicks are answered by", open=False, elem_id="segmenter-box") as box:
        segmenter = choice_list("What answers your clicks", elem_id="segmenter")
    picker = {"segmenter_box": box, "segmenter": segmenter}
    return {"canvas": canvas, "clip_notes": notes} | outline | files | picker


def prompt_part() -> dict[str, Component]:
    """What the clip shows, what it should show, and the button, by name."""
    _heading("2", text="Say what it becomes")
    with gr.Row(elem_classes="dm-prompts"):
        source = gr.Textbox(
            label="The clip shows", placeholder="a red car, road", elem_id="source-prompt", min_width=200
        )
        target = gr.Textbox(
            label="It should show", placeholder="a blue car, road", elem_id="target-prompt", min_width=200
        )
    suggestions = gr.Radio([], label="Try", container=False, visible=False, elem_id="suggestions")
    with gr.Row():
        preset = gr.Radio(
            [(label, name) for name, label in PRESET_NAMES.items()],
            value=FIRST_PRESET,
            label="How",
            info="keep the shape for a new colour or material; the paper's way takes five times as long",
            elem_id="preset",
            scale=3,
            min_width=300,
        )
        seed = setting_field("seed", shown_settings(EditConfig()), scale=1, min_width=110)
    edit = gr.Button("Edit", variant="primary", elem_id="edit")
    with gr.Row(elem_id="preflight-row"):
        check = gr.Button("Time and memory", size="sm", elem_id="preflight-check", scale=0, min_width=150)
        verdict = gr.HTML("", elem_id="preflight")
    proposal = gr.Button("", size="sm", visible=False, elem_id="preflight-use")
    with gr.Accordion("Edited by", open=False, elem_id="model-box") as box:
        model = choice_list("What edits the clip", elem_id="model")
    return {
        "model_box": box,
        "model": model,
        "preflight_check": check,
        "preflight": verdict,
        "preflight_use": proposal,
        "source_prompt": source,
        "target_prompt": target,
        "suggestions": suggestions,
        "preset": preset,
        "edit": edit,
        **seed,
    }


def result_part() -> dict[str, Component]:
    """The player and what is said of a result, by name."""
    _heading("", text="Watch it change")
    screen = player()
    stop = gr.Button("Stop", visible=False, elem_id="stop")
    losses = losses_plot()
    facts = gr.HTML("", elem_id="facts")
    with gr.Row():
        movie = gr.DownloadButton("Download the MP4", visible=False, elem_id="movie")
        receipt = gr.DownloadButton("Download the receipt", visible=False, elem_id="receipt")
    card = gr.HTML("", elem_id="card")
    return {
        "player": screen,
        "stop": stop,
        "losses": losses,
        "facts": facts,
        "card": card,
        "movie": movie,
        "receipt": receipt,
    }


def evidence_part() -> dict[str, Component]:
    """What the visitor's edits came to, and what each part of the method does, by name."""
    with gr.Tabs(elem_id="evidence"):
        with gr.Tab("Your runs", id="runs"):
            runs = _runs_tab()
        with gr.Tab("Ablation", id="ablation"):
            ablation = _ablation_tab()
    return runs | ablation


def _runs_tab() -> dict[str, Component]:
    runs = gr.HTML(runs_html(()), elem_id="runs")
    with gr.Row():
        export = gr.Button(
            "Download as CSV", size="md", visible=False, elem_id="runs-export", scale=0, min_width=190
        )
    file = gr.DownloadButton(visible="hidden", elem_id="runs-file")
    return {"runs": runs, "runs_export": export, "runs_file": file}


def _ablation_tab() -> dict[str, Component]:
    gr.HTML(_ABOUT_ABLATION)
    with gr.Row():
        run = gr.Button("Run the ablation", size="md", elem_id="board-run", scale=0, min_width=190)
        stop = gr.Button("Stop", size="md", visible=False, elem_id="board-stop", scale=0, min_width=110)
        file = gr.DownloadButton(
            "Download the board", size="md", visible=False, elem_id="board-file", scale=0, min_width=190
        )
    status = gr.HTML("", elem_id="board-status")
    return {
        "board_run": run,
        "board_stop": stop,
        "board_file": file,
        "board_status": status,
        "board": board(),
    }


def _heading(number: str, *, text: str) -> None:
    mark = f"<span>{number}</span> " if number else ""
    gr.HTML(f"<h2>{mark}{text}</h2>", elem_classes="dm-step")


def advanced_drawer(spec: ModelSpec, *, judges: Sequence[str]) -> dict[str, Component]:
    """Every setting that has no place of its own, as the first preset sets it, by name.

    Args:
        spec: the model that edits for newcomers.
        judges: names of what may judge words and frames, the usual one first.
    """
    elsewhere = (*HIDDEN_SETTINGS, "seed", "mask_grow", "mask_feather")
    names = [name for name in EditConfig.settings() if name not in elsewhere]
    shown = shown_settings(spec.config(FIRST_PRESET))
    special: dict[str, dict[str, Any]] = {
        "last_stage": {"choices": stage_choices(spec), "visible": bool(spec.stages)},
        "key_sites": {"placeholder": "one pattern a line", "lines": 2},
    }
    with gr.Accordion("Advanced", open=False, elem_id="advanced"):
        parts = _span(spec)
        for title, group in groupby(names, key=lambda name: EditConfig.settings()[name].group):
            _group(title)
            with gr.Row(elem_classes="dm-settings"):
                for name in group:
                    parts |= setting_field(name, shown, **special.get(name, {}))
        return parts | _judge(judges)


_WIDE_FIELDS = (
    *("guidance_scale", "timestep_order", "direction_weighting", "key_sites", "negative_prompt"),
    *("use_mask", "mask_matching", "keep_detail", "colour_smoothing", "resolution_scale"),
)
"""Settings that take a row of the drawer for themselves."""


def setting_field(name: str, shown: Mapping[str, Any], **options: Any) -> dict[str, Component]:
    """The field of a setting of the library by its name; of a range, one for each end.

    Args:
        name: the setting.
        shown: what the fields show, as `shown_settings` gives it.
        options: of the component, before those that follow from the setting.
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


def _judge(judges: Sequence[str]) -> dict[str, Component]:
    if len(judges) > 1:
        _group("How results are measured")
    judge = gr.Radio(
        list(judges),
        value=judges[0],
        label="Words and frames are judged by",
        info="from the next run and the next ablation on; figures of different judges are never compared",
        visible=len(judges) > 1,
        elem_id="judge",
    )
    return {"judge": judge}


def _group(title: str) -> None:
    gr.HTML(f"<h3>{title}</h3>", elem_classes="dm-group")


def _span(spec: ModelSpec) -> dict[str, Component]:
    _group("The clip")
    with gr.Row():
        start = gr.Number(
            0, label="Start frame", precision=0, minimum=0, elem_id="start-frame", min_width=120
        )
        count = gr.Slider(
            shortest_length(spec),
            spec.fit_length(spec.max_frames),
            spec.num_frames,
            step=spec.frame_step,
            label="Number of frames",
            info=frames_info(spec),
            elem_id="num-frames",
        )
    return {"start_frame": start, "num_frames": count}


def frames_info(spec: ModelSpec) -> str:
    """What is said of the number of frames."""
    return f"{spec.label} takes {length_words(spec)}"


def stage_choices(spec: ModelSpec) -> list[tuple[str, str]]:
    """After which stages of a cascade one may stop; "" runs them all."""
    return [("All stages", ""), *((name, name) for name in spec.stages[:-1])]
