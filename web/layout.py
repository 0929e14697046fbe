"""The parts of the page: which components each has, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from web.components import board, choice_list, click_canvas, examples_row, losses_plot, player
from web.examples import Example
from web.mask_drawers import mask_drawer, outline_drawer
from web.run_views import runs_html
from web.form import FIRST_PRESET, preset_choices

_ABOUT_ABLATION = """<p class="dm-about">What does each part of the method do? One click edits your clip
five times with the same words, seed and settings: by the words alone (<b>DDS</b>), with the part that keeps
the shape (<b>S-SSM</b>), with the part that keeps the motion (<b>T-SSM</b>), with both, and with both but
without your selection. It takes about as long as five edits; <b>Stop</b> keeps what is finished.</p>"""


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
