"""The drawers: what refines the masks, and every setting of an edit with the library's own defaults."""

from __future__ import annotations

import gradio as gr
from gradio.components import Component

from dreammotion_core import EditConfig, ModelSpec, length_words, shortest_length
from web.mask_exchange import MASK_FILE_TYPES, MASK_KINDS
from web.settings import FURTHEST_RIM, MOST_STEADY, Refinement


def advanced_drawer(spec: ModelSpec) -> dict[str, Component]:
    """Every setting beyond prompts, preset and seed, by name.

    Args:
        spec: of the active model, for the length of a clip.
    """
    usual = spec.config()
    with gr.Accordion("Advanced", open=False, elem_id="advanced"):
        return _optimisation(usual) | _losses(usual) | _mask(usual) | _span(spec)


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


def _optimisation(usual: EditConfig) -> dict[str, Component]:
    low, high = usual.timestep_range
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
    return {
        "steps": steps,
        "preview_interval": interval,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "guidance_scale": guidance,
        "timestep_low": timestep_low,
        "timestep_high": timestep_high,
    }


def _losses(usual: EditConfig) -> dict[str, Component]:
    with gr.Row():
        return {
            name: gr.Number(
                getattr(usual, name), label=label, info="weight; 0 switches it off", min_width=120
            )
            for name, label in (
                ("appearance_weight", "Appearance"),
                ("spatial_weight", "Spatial matching"),
                ("temporal_weight", "Temporal matching"),
            )
        }


def _mask(usual: EditConfig) -> dict[str, Component]:
    mask = gr.Checkbox(usual.use_mask, label="Change only what is selected", elem_id="use-mask")
    return {"use_mask": mask}


def _span(spec: ModelSpec) -> dict[str, Component]:
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
