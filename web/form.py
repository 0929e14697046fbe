"""Reads the form. The page's own limits can be bypassed, so everything is checked again here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from dreammotion_core import ConfigError, EditConfig, ModelSpec, check_prompts

FORM_FIELDS = (
    "preset",
    "steps",
    "learning_rate",
    "optimizer",
    "guidance_scale",
    "timestep_low",
    "timestep_high",
    "appearance_weight",
    "spatial_weight",
    "temporal_weight",
    "matching_limit",
    "use_mask",
    "mask_matching",
    "keep_detail",
    "colour_smoothing",
    "timestep_order",
    "direction_weighting",
    "negative_prompt",
    "key_sites",
    "method",
    "strength",
    "seed",
    "preview_interval",
    "resolution_scale",
    "last_stage",
)
"""Names of the form's components that make up an `EditConfig`, together with those of the masks' rim."""


Fill = Literal["none", "holes", "box"]

REFINEMENT_FIELDS = ("mask_fill", "mask_steady", "mask_invert", "mask_grow", "mask_feather")
"""Names of the form's components that make up a `Refinement`."""

EDIT_FIELDS = ("token", "source_prompt", "target_prompt", *FORM_FIELDS, *REFINEMENT_FIELDS)
"""Names of all that an edit is asked for with."""

MOST_STEADY = 3
FURTHEST_RIM = 32

_USUAL = EditConfig()


@dataclass(frozen=True)
class Refinement:
    """What is done to the masks of all objects before the edit.

    Attributes:
        fill: what of each mask is filled: nothing, its holes, or the upright box round it.
        steady: frames before and after that vote on each mask; 0 leaves it as it is.
        is_inverted: whether everything but the objects is changed.
        grow: pixels by which the outline moves outwards, or inwards if negative.
        feather: width in pixels of the soft rim inside the outline.
    """

    fill: Fill = "none"
    steady: int = 0
    is_inverted: bool = False
    grow: int = _USUAL.mask_grow
    feather: int = _USUAL.mask_feather


def read_settings(form: Mapping[str, Any], *, spec: ModelSpec) -> EditConfig:
    """The checked settings of an edit; those that the form does not show are the preset's or the model's.

    Args:
        form: values of `FORM_FIELDS` as the browser sent them.
        spec: of the model that edits.

    Raises:
        ConfigError: if one is missing, of a wrong type or out of its range.
    """
    return spec.config(
        form["preset"],
        num_optimization_steps=whole_number("steps", form["steps"]),
        optimizer=form["optimizer"],
        learning_rate=form["learning_rate"],
        guidance_scale=form["guidance_scale"],
        timestep_range=(
            whole_number("the lowest timestep", form["timestep_low"]),
            whole_number("the highest timestep", form["timestep_high"]),
        ),
        appearance_weight=form["appearance_weight"],
        spatial_weight=form["spatial_weight"],
        temporal_weight=form["temporal_weight"],
        matching_limit=form["matching_limit"],
        use_mask=form["use_mask"],
        mask_matching=form["mask_matching"],
        keep_detail=form["keep_detail"],
        colour_smoothing=form["colour_smoothing"],
        timestep_order=form["timestep_order"],
        direction_weighting=form["direction_weighting"],
        negative_prompt=form["negative_prompt"],
        key_sites=_read_key_sites(form["key_sites"]),
        method=form["method"],
        strength=form["strength"],
        mask_grow=whole_number("mask grow", form["mask_grow"]),
        mask_feather=whole_number("mask feather", form["mask_feather"]),
        seed=read_seed(form["seed"]),
        preview_interval=whole_number("the preview interval", form["preview_interval"]),
        resolution_scale=form["resolution_scale"],
        last_stage=form["last_stage"] or None,
    )


def _read_key_sites(value: Any) -> tuple[str, ...] | None:
    """Shell patterns, one a line; None, the model's own, where there are none."""
    if not isinstance(value, str):
        raise ConfigError(f"the key sites are {value!r}; enter a shell pattern a line, or nothing")
    return tuple(line.strip() for line in value.splitlines() if line.strip()) or None


def read_refinement(form: Mapping[str, Any]) -> Refinement:
    """The checked refinement of a form.

    Args:
        form: values of `REFINEMENT_FIELDS` as the browser sent them.

    Raises:
        ConfigError: if one is of a wrong type or out of its range.
    """
    fill, is_inverted = form["mask_fill"], form["mask_invert"]
    if fill not in get_args(Fill):
        raise ConfigError(f"what is filled is {fill!r}; choose one of: {', '.join(get_args(Fill))}")
    if not isinstance(is_inverted, bool):
        raise ConfigError(f"whether the mask is inverted is {is_inverted!r}; pass true or false")
    return Refinement(
        fill=fill,
        steady=whole_number("steadiness", form["mask_steady"], low=0, high=MOST_STEADY),
        is_inverted=is_inverted,
        grow=whole_number("mask grow", form["mask_grow"], low=-FURTHEST_RIM, high=FURTHEST_RIM),
        feather=whole_number("mask feather", form["mask_feather"], low=0, high=FURTHEST_RIM),
    )


def preset_fields(config: EditConfig) -> dict[str, Any]:
    """Values of the form's fields that a preset sets."""
    return {
        "steps": config.num_optimization_steps,
        "learning_rate": config.learning_rate,
        "optimizer": config.optimizer,
        "preview_interval": config.preview_interval,
        "timestep_order": config.timestep_order,
        "spatial_weight": config.spatial_weight,
        "temporal_weight": config.temporal_weight,
        "matching_limit": config.matching_limit,
    }


def model_fields(config: EditConfig) -> dict[str, Any]:
    """Values of the form's fields that a model sets."""
    low, high = config.timestep_range
    return preset_fields(config) | {
        "guidance_scale": config.guidance_scale,
        "timestep_low": low,
        "timestep_high": high,
        "appearance_weight": config.appearance_weight,
        "direction_weighting": config.direction_weighting,
        "mask_matching": config.mask_matching,
        "keep_detail": config.keep_detail,
        "colour_smoothing": config.colour_smoothing,
        "negative_prompt": config.negative_prompt,
        "key_sites": "\n".join(config.key_sites or ()),
    }


PRESET_OUTPUTS = tuple(preset_fields(_USUAL))
"""Names of the form's components that a preset sets."""


FIRST_PRESET = "keep-shape"
"""The preset that the page starts with, because all its examples suggest new colours and materials."""

_PRESET_LABELS = {FIRST_PRESET: "Keep the shape", "fast": "Usual", "paper": "Paper"}


def preset_choices() -> list[tuple[str, str]]:
    """What the page calls each preset, and its name, the one that it starts with first."""
    return [(label, name) for name, label in _PRESET_LABELS.items()]


def whole_number(name: str, value: Any, *, low: int = -(2**63), high: int = 2**63 - 1) -> int:
    """A whole number out of whatever the browser sent.

    Raises:
        ConfigError: if it is none, or not within [low, high].
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or value % 1 != 0 or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}; enter a whole number from {low:,} to {high:,}")
    return int(value)


def read_seed(value: Any) -> int:
    """A seed out of text.

    Raises:
        ConfigError: if it is no whole number.
    """
    # The field is text: a number field would round seeds beyond 2**53.
    try:
        return int(str(value).strip())
    except ValueError as error:
        raise ConfigError(f"the seed is {value!r}; enter a whole number, or -1 to draw one") from error


def read_prompts(source_prompt: Any, target_prompt: Any) -> tuple[str, str]:
    """The two prompts, without blanks at their ends.

    Raises:
        PromptError: if one is missing or too long, or they are the same.
    """
    source, target = (
        text.strip() if isinstance(text, str) else "" for text in (source_prompt, target_prompt)
    )
    check_prompts(source_prompt=source, target_prompt=target)
    return source, target
