"""The form: its fields, what they show for some settings, and what is read and checked from them.

Most fields are settings of the library, of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from dreammotion_core import PRESETS, ConfigError, EditConfig, ModelSpec, PromptError, check_prompts

# Without a field: the preset's or the model's.
HIDDEN_SETTINGS = ("learning_rate_end_factor", "window", "overlap")
FIRST_PRESET = "auto"  # The preset that the page starts with: the one that fits the words.
PRESET_NAMES = {
    FIRST_PRESET: "By your words",
    "keep-shape": "Keep the shape",
    "fast": "Usual",
    "paper": "Paper",
}
"""What the page calls each preset, in the order in which they are offered."""


def shown_settings(config: EditConfig) -> dict[str, Any]:
    """What each field shows for some settings, by its name."""
    shown = {name: value for name, value in vars(config).items() if name not in HIDDEN_SETTINGS}
    shown["timestep_low"], shown["timestep_high"] = shown.pop("timestep_range")
    return shown | {
        "key_sites": "\n".join(config.key_sites or ()),
        "last_stage": config.last_stage or "",
        # Text, because a number field would round seeds beyond 2**53.
        "seed": "" if config.seed < 0 else str(config.seed),
    }


SETTING_FIELDS = tuple(shown_settings(EditConfig()))
_KEPT_FIELDS = (
    *("seed", "method", "strength", "use_mask", "mask_grow", "mask_edge", "mask_feather"),
    *("resolution_scale", "last_stage"),
)


def model_fields(config: EditConfig) -> dict[str, Any]:
    """What the fields show after a change of the model; the others stay as they are."""
    return {name: value for name, value in shown_settings(config).items() if name not in _KEPT_FIELDS}


def preset_fields(config: EditConfig) -> dict[str, Any]:
    """What the fields show after a change of the preset."""
    changed = {name for changes in PRESETS.values() for name in changes}
    return {name: value for name, value in shown_settings(config).items() if name in changed}


PRESET_OUTPUTS = tuple(preset_fields(EditConfig()))
Fill = Literal["none", "holes", "box"]
MOST_STEADY = 3
REFINEMENT_FIELDS = ("mask_fill", "mask_steady", "mask_invert", "mask_grow", "mask_edge", "mask_feather")
FORM_FIELDS = ("preset", *dict.fromkeys((*SETTING_FIELDS, *REFINEMENT_FIELDS)))
"""Names of all fields but those of the words."""
EDIT_FIELDS = ("token", "source_prompt", "target_prompt", *FORM_FIELDS)  # All of an edit.


@dataclass(frozen=True)
class Refinement:
    """What is done to the masks of all objects before the edit.

    Attributes:
        fill: what of each mask is filled: nothing, its holes, or the upright box round it.
        steady: frames before and after that vote on each mask; 0 leaves it as it is.
        is_inverted: whether everything but the objects is changed.
        grow: pixels by which the outline moves outwards, or inwards if negative.
        edge: pixels to each side of the outline that lose the old colour.
        feather: width in pixels of the soft rim inside what may change.
    """

    fill: Fill = "none"
    steady: int = 0
    is_inverted: bool = False
    grow: int = EditConfig.mask_grow
    edge: int = EditConfig.mask_edge
    feather: int = EditConfig.mask_feather


def read_settings(
    form: Mapping[str, Any],
    *,
    spec: ModelSpec,
    prompts: tuple[str, str] = ("", ""),
    size: tuple[int, int] | None = None,
    room: int | None = None,
) -> EditConfig:
    """The checked settings of an edit; those without a field are the preset's or the model's.

    `prompts` (source, target) choose a preset that is left open; `size` is (height, width) of the clip, and
    `room` the pixels for another thing, if it needs more than usual.
    Raises `ConfigError` if one is of a wrong type or out of its range.
    """
    settings = {name: form[name] for name in SETTING_FIELDS}
    for name, value in settings.items():
        # JSON has one kind of number.
        if isinstance(value, float) and value.is_integer():
            settings[name] = int(value)
    settings["timestep_range"] = (settings.pop("timestep_low"), settings.pop("timestep_high"))
    settings["last_stage"] = settings["last_stage"] or None
    settings["seed"] = read_seed(form["seed"])
    sites = form["key_sites"]
    if isinstance(sites, str):
        settings["key_sites"] = tuple(filter(None, map(str.strip, sites.splitlines()))) or None
    if form["preset"] == FIRST_PRESET:
        for name in _untouched(form, spec):
            del settings[name]
        settings |= {"source_prompt": prompts[0], "target_prompt": prompts[1], "size": size, "room": room}
    return spec.config(form["preset"], **settings)


def _untouched(form: Mapping[str, Any], spec: ModelSpec) -> set[str]:
    """Fields that show what some preset shows, so that the words decide."""
    presets = [preset_fields(spec.config(name)) for name in PRESETS]
    untouched = {name for name in PRESET_OUTPUTS if form[name] in [shown[name] for shown in presets]}
    return untouched | ({"mask_grow"} if form["mask_grow"] == EditConfig.mask_grow else set())


def read_refinement(form: Mapping[str, Any]) -> Refinement:
    """The checked refinement of a form. Raises `ConfigError` for a wrong type or range."""
    fill, is_inverted = form["mask_fill"], form["mask_invert"]
    if fill not in get_args(Fill):
        raise ConfigError(f"what is filled is {fill!r}; choose one of: {', '.join(get_args(Fill))}")
    if not isinstance(is_inverted, bool):
        raise ConfigError(f"whether the mask is inverted is {is_inverted!r}; pass true or false")
    rim = {name: _rim(f"mask_{name}", form[f"mask_{name}"]) for name in ("grow", "edge", "feather")}
    steady = whole_number("steadiness", form["mask_steady"], low=0, high=MOST_STEADY)
    return Refinement(fill=fill, steady=steady, is_inverted=is_inverted, **rim)


def _rim(name: str, value: Any) -> int:
    """Pixels within the slider, because every frame that is shown is drawn with them."""
    low, high, _ = EditConfig.settings()[name].span or (0, 0, 1)
    return whole_number(name.replace("_", " "), value, low=int(low), high=int(high))


def whole_number(name: str, value: Any, *, low: int, high: int) -> int:
    """A whole number in [low, high] out of whatever the browser sent; else a `ConfigError`."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or value % 1 != 0 or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}; enter a whole number from {low:,} to {high:,}")
    return int(value)


def read_seed(value: Any) -> int:
    """A seed out of text, -1 for an empty one; a `ConfigError` unless it is a whole number."""
    try:
        return int(str(value).strip() or "-1")
    except ValueError as error:
        raise ConfigError(
            f"the seed is {value!r}; enter a whole number, or nothing to draw a new one"
        ) from error


class EmptyFieldError(PromptError):
    """A field of the words is empty; `field` is "source" or "target"."""

    def __init__(self, text: str, *, field: str) -> None:
        super().__init__(text)
        self.field = field


def read_prompts(source_prompt: Any, target_prompt: Any) -> tuple[str, str]:
    """The two prompts without blanks at their ends, as `check_prompts` accepts them."""
    source, target = (
        text.strip() if isinstance(text, str) else "" for text in (source_prompt, target_prompt)
    )
    check_prompts(source_prompt=source, target_prompt=target)
    return source, target


def read_fields(source_prompt: Any, target_prompt: Any) -> tuple[str, str]:
    """`read_prompts` of the page's fields; for an empty one, the error says which field waits for what."""
    for text, field, words in (
        (target_prompt, "target", "say under “It should show” what it should become"),
        (source_prompt, "source", "say under “The clip shows now” what is there now"),
    ):
        if not isinstance(text, str) or not text.strip():
            raise EmptyFieldError(words, field=field)
    return read_prompts(source_prompt, target_prompt)
