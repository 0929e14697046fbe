"""The parts of the page: which components each has, by name.

The drawers under the canvas: what refines the masks, and what brings them in and out.

The drawer of settings: each of an edit, as the first preset of the page sets it.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
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
from web.form import FIRST_PRESET, FURTHEST_RIM, MOST_STEADY, Refinement, preset_choices
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
    usual = Refinement()
    with gr.Accordion("Refine the outline", open=False, elem_id="outline"):
        with gr.Row():
            grow = gr.Slider(
                -FURTHEST_RIM,
                FURTHEST_RIM,
                usual.grow,
                step=1,
                label="Grow, shrink (pixels)",
                elem_id="grow",
            )
            feather = gr.Slider(
                0, FURTHEST_RIM, usual.feather, step=1, label="Soft rim (pixels)", elem_id="feather"
            )
        with gr.Row():
            fills = [("Nothing", "none"), ("Its holes", "holes"), ("The box round it", "box")]
            fill = gr.Radio(fills, value=usual.fill, label="Fill", elem_id="fill")
            steady = gr.Slider(
                0, MOST_STEADY, usual.steady, step=1, label="Steady in time (frames)", elem_id="steady"
            )
        inverted = gr.Checkbox(
            usual.is_inverted, label="Change everything except what is selected", elem_id="invert"
        )
    return {
        "mask_grow": grow,
        "mask_feather": feather,
        "mask_fill": fill,
        "mask_steady": steady,
        "mask_invert": inverted,
    }


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
        preset = _preset_choice()
        seed = gr.Textbox("-1", label="Seed", info="-1 draws one", elem_id="seed", scale=1, min_width=110)
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
        "seed": seed,
        "edit": edit,
    }


def _preset_choice() -> gr.Radio:
    return gr.Radio(
        preset_choices(),
        value=FIRST_PRESET,
        label="How",
        info="keep the shape for a new colour or material; the paper's way takes five times as long",
        elem_id="preset",
        scale=3,
        min_width=300,
    )


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


METHOD_CHOICES = [
    ("DreamMotion", "dreammotion"),
    ("V-SDS", "v-sds"),
    ("SDEdit", "sdedit"),
    ("DDIM inversion and word swap", "ddim-inversion"),
    ("FlowEdit, of models with flow matching", "flowedit"),
]
"""What a visitor may compare with, and its name in `EditConfig`."""


def advanced_drawer(spec: ModelSpec, *, judges: Sequence[str]) -> dict[str, Component]:
    """Every setting beyond prompts, preset and seed, by name.

    Args:
        spec: of the active model, for the length of a clip.
        judges: names of what may judge words and frames, the usual one first.
    """
    usual = spec.config(FIRST_PRESET)
    with gr.Accordion("Advanced", open=False, elem_id="advanced"):
        clip, steps = _span(spec), _optimisation(usual)
        parts = clip | steps | _losses(usual) | _words(usual) | _mask(usual) | _method(usual)
        return parts | _judge(judges)


def _optimisation(usual: EditConfig) -> dict[str, Component]:
    low, high = usual.timestep_range
    _group("Steps")
    with gr.Row():
        steps = gr.Slider(1, 500, usual.num_optimization_steps, step=1, label="Steps", elem_id="steps")
        interval = gr.Slider(
            0, 50, usual.preview_interval, step=1, label="Steps between previews", elem_id="interval"
        )
    with gr.Row():
        optimizer = gr.Radio(["sgd", "adam"], value=usual.optimizer, label="Optimiser", min_width=160)
        learning_rate = gr.Number(usual.learning_rate, label="Learning rate", min_width=120)
        guidance = gr.Slider(0, 30, usual.guidance_scale, step=0.5, label="Guidance scale", min_width=200)
    with gr.Row():
        timestep_low = gr.Slider(0, 999, low, step=1, label="Lowest timestep")
        timestep_high = gr.Slider(1, 1000, high, step=1, label="Highest timestep")
    order = gr.Radio(
        [("Noisiest first", "descending"), ("As drawn", "random")],
        value=usual.timestep_order,
        label="Order of the timesteps",
        info="noisiest first settles the coarse shape before the fine parts",
        elem_id="timestep-order",
    )
    return {
        "steps": steps,
        "preview_interval": interval,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "guidance_scale": guidance,
        "timestep_low": timestep_low,
        "timestep_high": timestep_high,
        "timestep_order": order,
    }


def _losses(usual: EditConfig) -> dict[str, Component]:
    _group("What pulls")
    with gr.Row():
        weights: dict[str, Component] = {
            name: gr.Number(
                getattr(usual, name), label=label, info="weight; 0 switches it off", min_width=120
            )
            for name, label in (
                ("appearance_weight", "Appearance"),
                ("spatial_weight", "Spatial matching"),
                ("temporal_weight", "Temporal matching"),
            )
        }
        limit = gr.Number(
            usual.matching_limit,
            label="Longest matching",
            info="in lengths of the text's pull; 0 switches the limit off",
            min_width=120,
        )
    weighting = gr.Radio(
        [("Of predicted noises", "noise"), ("Of velocities", "velocity")],
        value=usual.direction_weighting,
        label="The direction is the difference",
        info="velocities weigh noisy timesteps more and do not pull back towards the source",
        elem_id="direction-weighting",
    )
    sites = gr.Textbox(
        "\n".join(usual.key_sites or ()),
        label="Key sites",
        info="attention keys that are matched, as patterns such as mid_block.*.to_k, one a line; empty takes "
        "the model's own",
        lines=2,
        elem_id="key-sites",
    )
    return weights | {"matching_limit": limit, "direction_weighting": weighting, "key_sites": sites}


def _mask(usual: EditConfig) -> dict[str, Component]:
    _group("What stays")
    mask = gr.Checkbox(usual.use_mask, label="Change only what is selected", elem_id="use-mask")
    matching = gr.Checkbox(
        usual.mask_matching, label="Match only within the selection", elem_id="mask-matching"
    )
    detail = gr.Checkbox(
        usual.keep_detail, label="Give back fine detail that the model loses", elem_id="keep-detail"
    )
    smoothing = gr.Number(
        usual.colour_smoothing,
        label="Steady the object's colour over (seconds)",
        info="takes out flicker that the edit adds; 0 switches it off",
        elem_id="colour-smoothing",
    )
    return {
        "use_mask": mask,
        "mask_matching": matching,
        "keep_detail": detail,
        "colour_smoothing": smoothing,
    }


def _words(usual: EditConfig) -> dict[str, Component]:
    negative = gr.Textbox(
        usual.negative_prompt,
        label="Negative prompt",
        info="what it should not look like; usually empty",
        elem_id="negative-prompt",
    )
    return {"negative_prompt": negative}


def _method(usual: EditConfig) -> dict[str, Component]:
    _group("Another method, to compare with")
    method = gr.Dropdown(METHOD_CHOICES, value=usual.method, label="Method", elem_id="method")
    strength = gr.Slider(
        0.05,
        1.0,
        usual.strength,
        step=0.05,
        label="Strength",
        info="of SDEdit and FlowEdit: from how noisy a clip they begin",
        elem_id="strength",
    )
    return {"method": method, "strength": strength}


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
    with gr.Row():
        scale = gr.Slider(
            0.25,
            1.0,
            1.0,
            step=0.05,
            label="Resolution",
            info="of the model's own; less takes less memory and is coarser",
            elem_id="resolution",
        )
        stage = gr.Radio(
            stage_choices(spec), value="", label="Stop after", visible=bool(spec.stages), elem_id="last-stage"
        )
    return {"start_frame": start, "num_frames": count, "resolution_scale": scale, "last_stage": stage}


def frames_info(spec: ModelSpec) -> str:
    """What is said of the number of frames."""
    return f"{spec.label} takes {length_words(spec)}"


def stage_choices(spec: ModelSpec) -> list[tuple[str, str]]:
    """After which stages of a cascade one may stop; "" runs them all."""
    return [("All stages", ""), *((name, name) for name in spec.stages[:-1])]
