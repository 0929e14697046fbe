"""The settings of an edit, what each accepts, and the presets."""

from __future__ import annotations

import fnmatch
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal, Protocol, Self

import numpy as np

from dreammotion_core.errors import ConfigError


class Accepted(Protocol):
    """The values that a setting accepts."""

    def holds(self, value: Any) -> bool:
        """Whether a value is accepted."""

    def __str__(self) -> str:
        """The accepted values, for errors."""


@dataclass(frozen=True)
class Whole:
    """Whole numbers from `low` to `high`, and None if `optional`."""

    low: int
    high: int
    optional: bool = False

    def holds(self, value: Any) -> bool:
        """True and False do not count as numbers."""
        return (self.optional and value is None) or (is_whole(value) and self.low <= value <= self.high)

    def __str__(self) -> str:
        return f"a whole number from {self.low:,} to {self.high:,}"


@dataclass(frozen=True)
class Real:
    """Numbers from `low` to `high`; with `above`, `low` is left out."""

    low: float
    high: float
    above: bool = False

    def holds(self, value: Any) -> bool:
        """True and False do not count as numbers."""
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and self.low <= value <= self.high and not (self.above and value == self.low)

    def __str__(self) -> str:
        return f"a number {'above' if self.above else 'from'} {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Sides:
    """A tuple (height, width) of whole numbers from `low` to `high`."""

    low: int
    high: int

    def holds(self, value: Any) -> bool:
        """Whether the value is two numbers within the range."""
        each = Whole(self.low, self.high)
        return isinstance(value, tuple) and len(value) == 2 and all(map(each.holds, value))

    def __str__(self) -> str:
        return f"two whole numbers (height, width) from {self.low:,} to {self.high:,}"


@dataclass(frozen=True)
class Kind:
    """All values of a type, and None if `optional`."""

    type: type
    described: str
    optional: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a value is of the type."""
        return isinstance(value, self.type) or (self.optional and value is None)

    def __str__(self) -> str:
        return self.described


@dataclass(frozen=True)
class OneOf:
    """One of some names, each with what people are told it is."""

    names: Mapping[str, str]

    def holds(self, value: Any) -> bool:
        """Whether it is one of them."""
        return value in tuple(self.names)  # a mapping cannot be asked for a list

    def __str__(self) -> str:
        return " or ".join(map(repr, self.names))


@dataclass(frozen=True)
class Interval:
    """A tuple (low, high) of whole numbers with ``least <= low < high <= most``."""

    least: int
    most: int

    def holds(self, value: Any) -> bool:
        """Whether there are two, in order and within the bounds."""
        is_pair = isinstance(value, tuple) and len(value) == 2 and all(map(is_whole, value))
        return is_pair and self.least <= value[0] < value[1] <= self.most

    def __str__(self) -> str:
        return f"two whole numbers (low, high) with {self.least} <= low < high <= {self.most}"


FLAG = Kind(bool, "True or False")


def check_accepted(settings: object, *, accepted: Mapping[str, Accepted]) -> None:
    """Raise `ConfigError` for the first setting with a value that it does not accept.

    Names that `settings` has no attribute for are ignored.
    """
    for name, values in accepted.items():
        if hasattr(settings, name) and not values.holds(value := getattr(settings, name)):
            raise ConfigError(f"{name} is {value!r}; pass {values}")


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, and neither True nor False."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


MOST_KEY_SITES = 16
LONGEST_KEY_SITE = 200

_NEVER_IN_NAMES = re.compile(r"^\.|\.\.|[^\w.*?\[\]!-]", re.ASCII)
_CHOICE = re.compile(r"\((?:\?:)?([^()]*\|[^()]*)\)(?![*+?{])")

_NEW_SPELLINGS = (
    (re.compile(r"\([^()]*\)[*+?]?"), "*"),
    (re.compile(r"\[\^"), "[!"),
    (re.compile(r"(?:\\[dw]|(?<!\\)\.|\[[^\]]*\])(?:[*+]|\{[^}]*\})"), "*"),
    (re.compile(r"\\d"), "[0-9]"),
    (re.compile(r"\\w"), "?"),
    (re.compile(r"[^\w.*?\[\]!-]", re.ASCII), ""),
    (re.compile(r"\*+"), "*"),
    (re.compile(r"\.{2,}"), "."),
)
"""Part of a regular expression -> its shell spelling, applied in this order."""


def check_key_pattern(pattern: object) -> None:
    """Raise `ConfigError` unless a text is a shell pattern for the dotted name of a layer.

    For a regular expression, the error says its new spelling.
    """
    if not isinstance(pattern, str) or not pattern:
        raise ConfigError(
            f"key_sites holds {str(pattern)[:50]!r}; pass shell patterns, such as 'up_blocks.*.to_k'"
        )
    if len(pattern) > LONGEST_KEY_SITE:
        raise ConfigError(
            f"key_sites holds a pattern of {len(pattern):,} characters; pass at most {LONGEST_KEY_SITE}"
        )
    if _NEVER_IN_NAMES.search(pattern):
        raise ConfigError(
            f"key_sites holds {pattern!r}, which is not a shell pattern; regular expressions are no longer "
            f"accepted; write {' and '.join(map(repr, _shell_spelling(pattern)))}"
        )


def compiled_key_pattern(pattern: str) -> re.Pattern[str]:
    """A shell pattern as an expression; its ``match`` accepts whole names.

    ``*`` stands for any characters, the dot included, ``?`` for one and ``[0-9]`` for one of these. A match
    takes at most time in proportion to the length of the name times that of the pattern.
    """
    # Each star except the last becomes an atomic group, which is never tried again.
    return re.compile(fnmatch.translate(pattern))


def _shell_spelling(expression: str) -> list[str]:
    """The shell patterns that say what a regular expression said, or nearly so."""
    choice = _CHOICE.search(expression)
    if choice is None:
        spellings = expression.split("|")
    else:
        before, after = expression[: choice.start()], expression[choice.end() :]
        spellings = [f"{before}{option}{after}" for option in choice[1].split("|")]
    for old, new in _NEW_SPELLINGS:
        spellings = [old.sub(new, spelling) for spelling in spellings]
    return [spelling.lstrip(".") or "*" for spelling in spellings]


MAX_PROMPT_CHARACTERS = 1000
MAX_SEED = 2**63 - 1

Optimizer = Literal["sgd", "adam"]
TimestepOrder = Literal["random", "descending"]
DirectionWeighting = Literal["noise", "velocity"]
MethodName = Literal["dreammotion", "v-sds", "sdedit", "ddim-inversion", "flowedit"]


@dataclass(frozen=True)
class Setting:
    """What a form or a command line says of a setting, and which values it takes.

    Attributes:
        group: title of the settings among which it is listed.
        help: what it does, in a few words; of a flag, what happens without it.
        span: lowest value, highest value and step of a slider, which need not reach all that is accepted;
            None where a field is better.
        unit: of the number; empty where it has none.
        option: of the command line; empty where it is the name of the setting.
    """

    group: str
    label: str
    help: str
    accepted: Accepted
    span: tuple[float, float, float] | None = None
    unit: str = ""
    option: str = ""

    @property
    def choices(self) -> Mapping[str, str]:
        """Its values and what they are called, where it is one of some names; else nothing."""
        return self.accepted.names if isinstance(self.accepted, OneOf) else {}


_STEPS, _PULLS, _STAYS, _SIZE = "Steps", "What pulls", "What stays", "Size and stages"
_OTHER = "Another method, to compare with"
_WEIGHT = Real(0.0, 1e6)

# fmt: off
SETTINGS: Mapping[str, Setting] = {
    "num_optimization_steps": Setting(
        _STEPS, "Steps", "more go further from the source", Whole(1, 10_000), (1, 500, 1), option="--steps"),
    "preview_interval": Setting(
        _STEPS, "Steps between previews", "0 switches previews off", Whole(0, 10_000), (0, 50, 1)),
    "optimizer": Setting(_STEPS, "Optimiser", "how a step is taken", OneOf({"sgd": "SGD", "adam": "Adam"})),
    "learning_rate": Setting(_STEPS, "Learning rate", "length of a step", Real(0.0, 1e4, above=True)),
    "learning_rate_end_factor": Setting(
        _STEPS, "Last learning rate", "share of the learning rate that is left at the end", Real(0.0, 1.0)),
    "guidance_scale": Setting(
        _STEPS, "Guidance scale", "how strongly the prompts count", Real(0.0, 1000.0), (0, 30, 0.5)),
    "timestep_range": Setting(
        _STEPS, "Timesteps", "lowest and highest noise level", Interval(0, 1000), (0, 1000, 1)),
    "timestep_order": Setting(
        _STEPS, "Order of the timesteps", "noisiest first settles the coarse shape before the fine parts",
        OneOf({"descending": "Noisiest first", "random": "As drawn"})),
    "seed": Setting(_STEPS, "Seed", "repeats a run; -1 draws one", Whole(-1, MAX_SEED)),
    "appearance_weight": Setting(_PULLS, "Appearance", "weight of the text; 0 switches it off", _WEIGHT),
    "spatial_weight": Setting(
        _PULLS, "Spatial matching", "weight of keeping the structure; 0 switches it off", _WEIGHT),
    "temporal_weight": Setting(
        _PULLS, "Temporal matching", "weight of keeping the motion; 0 switches it off", _WEIGHT),
    "matching_limit": Setting(
        _PULLS, "Longest matching", "in lengths of the text's pull; 0 switches the limit off", _WEIGHT),
    "direction_weighting": Setting(
        _PULLS, "Direction of the text's pull",
        "velocities weigh noisy timesteps more and do not pull back towards the source",
        OneOf({"noise": "Difference of predicted noises", "velocity": "Difference of velocities"})),
    "key_sites": Setting(
        _PULLS, "Key sites",
        "attention keys to match, as patterns such as mid_block.*.to_k; default: the model's own",
        Kind(tuple, f"a tuple of 1 to {MOST_KEY_SITES} shell patterns, or None", optional=True)),
    "negative_prompt": Setting(
        _PULLS, "Negative prompt", "what it should not look like",
        Kind(str, f"text of at most {MAX_PROMPT_CHARACTERS:,} characters")),
    "use_mask": Setting(
        _STAYS, "Change only what is selected", "edit the whole frame", FLAG, option="--no-mask"),
    "mask_matching": Setting(_STAYS, "Match only within the selection", "match outside the mask too", FLAG),
    "keep_detail": Setting(
        _STAYS, "Give back fine detail that the model loses", "show the decoded clip as it is", FLAG),
    "colour_smoothing": Setting(
        _STAYS, "Steady the object's colour over", "takes out flicker that the edit adds; 0 switches it off",
        Real(0.0, 3600.0), unit="seconds"),
    "mask_grow": Setting(
        _STAYS, "Grow, shrink", "grows the mask, or shrinks it if negative",
        Whole(-256, 256), (-32, 32, 1), unit="pixels"),
    "mask_edge": Setting(
        _STAYS, "Clean edge", "band round the outline that loses the old colour; 0: off",
        Whole(0, 32), (0, 8, 1), unit="pixels"),
    "mask_feather": Setting(
        _STAYS, "Soft rim", "width of the mask's soft rim", Whole(0, 256), (0, 32, 1), unit="pixels"),
    "resolution_scale": Setting(
        _SIZE, "Resolution", "share of the model's own; less takes less memory and is coarser",
        Real(0.0, 2.0, above=True), (0.25, 1.0, 0.05)),
    "last_stage": Setting(
        _SIZE, "Stop after", "a stage of a cascade; default: all stages run",
        Kind(str, "the name of a stage, or None", optional=True)),
    "window": Setting(
        _SIZE, "Window", "frames of a long clip that are worked on at once; 0: the model's own",
        Whole(0, 10_000), unit="frames"),
    "overlap": Setting(
        _SIZE, "Overlap", "frames that neighbouring windows share; borders move anyway",
        Whole(0, 10_000), unit="frames"),
    "method": Setting(
        _OTHER, "Method", "DreamMotion, or a baseline",
        OneOf({
            "dreammotion": "DreamMotion", "v-sds": "V-SDS", "sdedit": "SDEdit",
            "ddim-inversion": "DDIM inversion and word swap",
            "flowedit": "FlowEdit, for models with flow matching",
        })),
    "strength": Setting(
        _OTHER, "Strength", "how noisy SDEdit and FlowEdit begin, up to 1",
        Real(0.0, 1.0, above=True), (0.05, 1.0, 0.05)),
}
# fmt: on
"""Every setting of `EditConfig`, in the order in which they are listed; see `EditConfig.settings`."""

CHOICES = {name: tuple(setting.choices) for name, setting in SETTINGS.items() if setting.choices}
"""The settings that are one of some names, and these names."""

Preset = Literal["fast", "keep-shape", "paper"]
AUTO = "auto"
"""Stands for the preset that fits the words; see `ModelSpec.choose_preset`."""
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {},
    # The limit always acts: matching is as strong as the direction, whatever the scale of a model's keys.
    "keep-shape": {"spatial_weight": 200.0, "temporal_weight": 800_000.0, "matching_limit": 1.0},
    "paper": {
        "num_optimization_steps": 200,
        "optimizer": "sgd",
        "learning_rate": 0.4,
        "learning_rate_end_factor": 1.0,
        "timestep_order": "random",
        "matching_limit": 0.0,
        "preview_interval": 10,
    },
}
"""What each preset changes in the defaults of `EditConfig`. ``keep-shape`` is for new colours and materials,
where the object stays what it is; ``paper`` is DreamMotion's optimiser."""


@dataclass(frozen=True, kw_only=True)
class EditConfig:
    """All settings of an edit; `ConfigError` if one is out of its range or of the wrong type.

    The same settings, clip, mask, prompts and model give the same result.

    Attributes:
        method: ``"dreammotion"``, or a baseline on the same model: ``"v-sds"``, ``"sdedit"``,
            ``"ddim-inversion"`` (with word swap) or, with flow models, ``"flowedit"``.
        strength: share of the timestep range at which sdedit and flowedit begin, above 0 to 1.
        num_optimization_steps: steps, 1 to 10,000 (the paper: 200); denoising steps of a baseline.
        optimizer: ``"sgd"`` (the paper) or ``"adam"``.
        learning_rate: step size, > 0; multiplies the unnormalised direction (the paper: 0.4 with SGD).
        learning_rate_end_factor: the learning rate falls linearly to this share, 0 to 1; 1 keeps it
            constant (the paper).
        guidance_scale: classifier-free guidance s in ``uncond + s * (text - uncond)``, both branches.
        timestep_range: (low, high) of the uniformly drawn timesteps, high exclusive, within [0, 1000].
        timestep_order: ``"random"`` (the paper) uses them as drawn; ``"descending"`` starts with the
            noisiest, so that the coarse shape settles before the fine parts.
        direction_weighting: the V-DDS direction is the difference of predicted noises (``"noise"``, the
            paper) or of velocities (``"velocity"``), which weighs noisy timesteps more and does not pull
            towards the source. Both work with every model family.
        appearance_weight: weight of the V-DDS direction; 0 switches this and each of the next two off.
        spatial_weight, temporal_weight: lambda_s and lambda_t, weights of self-similarity matching.
        matching_limit: longest matching gradient, in lengths of the V-DDS direction, so that weights that are
            too large for a model cannot make it diverge; 0 switches the limit off (the paper).
        use_mask: confine the edit to the mask. False edits the whole frame and composites nothing.
        mask_matching: confine the matching gradients to the mask as well.
        mask_grow: pixels by which the mask is grown (negative: shrunk) before use.
        keep_detail: give back detail of the source that the model's autoencoder and grid lose, where the edit
            keeps its structure.
        colour_smoothing: seconds over which the change of the object's mean colour is smoothed, 0 to 3600.
            It removes flicker that the edit adds, not changes of light in the source. 0 switches it off.
        mask_edge: pixels to each side of the grown mask's outline in which object and background are
            separated, so that no rim of the old colour stays. The edit may change them. 0 switches it off.
        mask_feather: width in pixels of the composite's soft rim, inside what the edit may change.
        key_sites: shell patterns of the key projections to match, at most 16; None takes the model's own.
        seed: of all noise and timesteps; -1 draws one, which `Started` reports.
        preview_interval: steps between previews; 0 switches them off.
        resolution_scale: sides of the model's grid relative to the trained ones, above 0 to 2; below 1 an
            edit takes less memory and time and is coarser.
        last_stage: stage of a cascade after which to stop, a name in `ModelSpec.stages`; None runs them all.
        window: frames of a long clip that the model sees at once, at most `ModelSpec.max_frames`; 0 takes a
            clip that fits as a whole, and `ModelSpec.num_frames` of a longer one.
        overlap: frames that neighbouring windows share, fewer than a window has.
    """

    method: MethodName = "dreammotion"
    strength: float = 0.6
    num_optimization_steps: int = 40
    optimizer: Optimizer = "sgd"
    learning_rate: float = 0.4
    learning_rate_end_factor: float = 0.0
    guidance_scale: float = 7.5
    timestep_range: tuple[int, int] = (50, 950)
    timestep_order: TimestepOrder = "descending"
    direction_weighting: DirectionWeighting = "noise"
    appearance_weight: float = 1.0
    spatial_weight: float = 0.02
    temporal_weight: float = 2.0
    matching_limit: float = 2.0
    use_mask: bool = True
    mask_matching: bool = True
    mask_grow: int = 0
    mask_edge: int = 2
    mask_feather: int = 1
    keep_detail: bool = True
    colour_smoothing: float = 1.0
    key_sites: tuple[str, ...] | None = None
    negative_prompt: str = ""
    seed: int = -1
    preview_interval: int = 5
    resolution_scale: float = 1.0
    last_stage: str | None = None
    window: int = 0
    overlap: int = 0

    def __post_init__(self) -> None:
        check_accepted(self, accepted={name: setting.accepted for name, setting in SETTINGS.items()})
        if (length := len(self.negative_prompt)) > MAX_PROMPT_CHARACTERS:
            most = f"{MAX_PROMPT_CHARACTERS:,}"
            raise ConfigError(f"negative_prompt has {length:,} characters; pass at most {most}")
        if self.key_sites is not None and not 1 <= len(self.key_sites) <= MOST_KEY_SITES:
            accepted = SETTINGS["key_sites"].accepted
            raise ConfigError(f"key_sites has {len(self.key_sites)} patterns; pass {accepted}")
        for pattern in self.key_sites or ():
            check_key_pattern(pattern)
        if self.appearance_weight == self.spatial_weight == self.temporal_weight == 0:
            raise ConfigError("all three losses are switched off; give at least one a weight above 0")

    @property
    def uses_matching(self) -> bool:
        """Whether any self-similarity loss is on."""
        return self.spatial_weight > 0 or self.temporal_weight > 0

    @staticmethod
    def settings() -> Mapping[str, Setting]:
        """What each setting is called, does and accepts, by its name."""
        return SETTINGS

    def with_changes(self, **changes: Any) -> Self:
        """A checked copy with some settings changed."""
        _refuse_unknown(changes)
        return replace(self, **changes)

    def with_drawn_seed(self) -> Self:
        """These settings, with a random seed if they have none."""
        return self if self.seed >= 0 else self.with_changes(seed=secrets.randbelow(2**32))

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain JSON values."""
        values = asdict(self).items()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; missing settings take their defaults, `ConfigError` for unknown ones."""
        _refuse_unknown(settings)
        values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in settings.items()}
        return cls(**values)

    @classmethod
    def preset(cls, name: str, *, usual: Mapping[str, Any] = MappingProxyType({}), **changes: Any) -> Self:
        """The settings of a preset over a model's usual ones, with changes over both.

        Raises:
            ConfigError: if there is no such preset, or a setting is unknown or out of its range.
        """
        if not isinstance(name, str) or name not in PRESETS:
            raise ConfigError(f"there is no preset {name!r}; choose one of: {', '.join(PRESETS)}")
        _refuse_unknown({**usual, **changes})
        return cls(**{**usual, **PRESETS[name], **changes})


def _refuse_unknown(settings: Mapping[str, Any]) -> None:
    known = [f.name for f in fields(EditConfig)]
    if unknown := sorted(set(settings) - set(known)):
        raise ConfigError(f"unknown settings: {', '.join(unknown)}; known are: {', '.join(known)}")
