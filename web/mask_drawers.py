"""The drawers under the canvas: what refines the masks, and what brings them in and out."""

from __future__ import annotations

import gradio as gr
from gradio.components import Component

from web.mask_exchange import MASK_FILE_TYPES, MASK_KINDS
from web.form import FURTHEST_RIM, MOST_STEADY, Refinement


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
