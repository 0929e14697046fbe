"""The drawer of settings: each of an edit, as the first preset of the page sets it."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr
from gradio.components import Component

from dreammotion_core import EditConfig, ModelSpec, length_words, shortest_length
from web.form import FIRST_PRESET

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
