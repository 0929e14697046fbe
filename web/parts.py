"""Parts of the page that consist of Gradio's own components."""

from __future__ import annotations

import gradio as gr
from gradio.components import Component

from web.components import losses_plot, player
from web.settings import preset_names


def prompt_part() -> dict[str, Component]:
    """What the clip shows, what it should show, and the button, by name."""
    heading("2", text="Say what it becomes")
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
            preset_names(), value=preset_names()[0], label="Preset", elem_id="preset", min_width=200
        )
        seed = gr.Textbox("-1", label="Seed (-1 draws one)", elem_id="seed", min_width=120)
    edit = gr.Button("Edit", variant="primary", elem_id="edit")
    return {
        "source_prompt": source,
        "target_prompt": target,
        "suggestions": suggestions,
        "preset": preset,
        "seed": seed,
        "edit": edit,
    }


def result_part() -> dict[str, Component]:
    """The player and what is said of a result, by name."""
    heading("", text="Watch it change")
    screen = player()
    stop = gr.Button("Stop", visible=False, elem_id="stop")
    losses = losses_plot()
    facts = gr.HTML("", elem_id="facts")
    with gr.Row():
        movie = gr.DownloadButton("Download the MP4", visible=False, elem_id="movie")
        receipt = gr.DownloadButton("Download the receipt", visible=False, elem_id="receipt")
    return {
        "player": screen,
        "stop": stop,
        "losses": losses,
        "facts": facts,
        "movie": movie,
        "receipt": receipt,
    }


def heading(number: str, *, text: str) -> None:
    """A heading with the number of the step, which may be empty."""
    gr.HTML(f"<h2><span>{number}</span> {text}</h2>", elem_classes="dm-step")
