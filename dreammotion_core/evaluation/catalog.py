"""What can be asked of an edit, and which variants of the method can be compared.

Two tables that a command line lists before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dreammotion_core.config import EditConfig
from dreammotion_core.errors import ConfigError

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A question about an edit, and how to read its figure."""

    name: str
    label: str
    question: str
    better: Better  # "neither" where an edit is free to change it
    scale: str  # how to read the figure, in plain words
    digits: int = 3  # decimals shown to people

    @property
    def arrow(self) -> str:
        """Which way is better, as an arrow; empty for neither."""
        return {"higher": "↑", "lower": "↓", "neither": ""}[self.better]


# Name: label and question.
_ASKED = {
    "text_alignment": ("Text-Align", "Does it show what the target prompt says?"),
    "frame_consistency": ("Frame-Con", "Do neighbouring frames belong together?"),
    "motion_fidelity": ("Motion-Fidelity", "Does the object move as it did?"),
    "motion_fidelity_frame": ("Motion-Fidelity, whole frame", "Does everything in the frame move as it did?"),
    "frame_lpips": ("Frame-LPIPS", "How different does it look from the source?"),
    "ssim_inside": ("SSIM inside", "How much of the object's fine structure is left?"),
    "psnr_inside": ("PSNR inside", "How far are the object's pixels from the source's?"),
    "ssim_outside": ("SSIM outside", "How much of the background's structure is left?"),
    "psnr_outside": ("PSNR outside", "How far are the background's pixels from the source's?"),
    "background_difference": ("Background change", "Did anything outside the selection change?"),
    "warping_error": ("Warping error (thousandths)", "Does the object shimmer where the source only moves?"),
    "colour_jitter": ("Colour jitter", "Does the object's colour flicker as a whole?"),
    "mask_overlap": ("Mask IoU", "Did the object keep its outline?"),
}
# Name: which way is better, decimals, and scale.
_READ: dict[str, tuple[Better, int, str]] = {
    "text_alignment": (
        "higher",
        3,
        "cosine of picture and text, by one judge; only comparable with the same judge",
    ),
    "frame_consistency": ("higher", 3, "cosine of neighbouring frames; 1 is a still picture"),
    "motion_fidelity": ("higher", 3, "1 is the same motion, 0 unrelated motion"),
    "motion_fidelity_frame": ("higher", 3, "1 is the same motion, 0 unrelated motion"),
    "frame_lpips": ("lower", 3, "0 is the same picture"),
    "ssim_inside": ("neither", 3, "1 is the same picture"),
    "psnr_inside": ("neither", 1, "decibels; ∞ is the same picture"),
    "ssim_outside": ("higher", 3, "1 is the same picture"),
    "psnr_outside": ("higher", 1, "decibels; ∞ is the same picture"),
    "background_difference": ("lower", 0, "largest change of any pixel, in 8-bit levels; 0 is untouched"),
    "warping_error": (
        "lower",
        2,
        "squared RGB difference along the source's motion; compare with the source's own",
    ),
    "colour_jitter": ("lower", 2, "CIELAB units a frame; below 1 is hardly seen"),
    "mask_overlap": ("higher", 3, "1 is the same outline"),
}
METRICS: Mapping[str, Metric] = {
    name: Metric(name=name, label=label, question=question, better=better, digits=digits, scale=scale)
    for (name, (label, question)), (better, digits, scale) in zip(_ASKED.items(), _READ.values(), strict=True)
}
"""All metrics by name, in the order of a report."""


def known_metrics(names: Iterable[str] | None) -> tuple[Metric, ...]:
    """The metrics of these names, in the order of `METRICS`; None takes all. Raises `ConfigError`."""
    wanted = set(METRICS) if names is None else set(names)
    if unknown := sorted(wanted - set(METRICS)):
        raise ConfigError(f"there is no metric {', '.join(unknown)}; known are: {', '.join(METRICS)}")
    return tuple(metric for name, metric in METRICS.items() if name in wanted)


@dataclass(frozen=True)
class Variant:
    """A change of settings to compare."""

    name: str
    label: str
    changes: Mapping[str, Any] = field(default_factory=dict)

    def of(self, config: EditConfig) -> EditConfig:
        """The shared settings with this variant's changes, or raise `ConfigError`."""
        return config.with_changes(**self.changes)


# The method is named, so that a variant is what its label says whatever the shared settings name.
_OURS = {"method": "dreammotion"}
_WITHOUT_SPATIAL = {"spatial_weight": 0.0}
_WITHOUT_TEMPORAL = {"temporal_weight": 0.0}
_WITHOUT_MATCHING = _WITHOUT_SPATIAL | _WITHOUT_TEMPORAL
_WHOLE_FRAME = {"use_mask": False}

_VARIANTS = (
    Variant("dreammotion", "DreamMotion", _OURS),
    Variant("no-matching", "without S-SSM and T-SSM (DDS only)", _OURS | _WITHOUT_MATCHING),
    Variant("no-temporal", "without T-SSM", _OURS | _WITHOUT_TEMPORAL),
    Variant("no-spatial", "without S-SSM", _OURS | _WITHOUT_SPATIAL),
    Variant("no-mask", "without masks", _OURS | _WHOLE_FRAME),
    Variant("v-sds", "V-SDS", {"method": "v-sds"}),
    Variant("sdedit", "SDEdit", {"method": "sdedit"} | _WHOLE_FRAME),
    Variant("ddim-inversion", "DDIM inversion and word swap", {"method": "ddim-inversion"} | _WHOLE_FRAME),
    Variant("flowedit", "FlowEdit", {"method": "flowedit"} | _WHOLE_FRAME),
)
VARIANTS: Mapping[str, Variant] = {variant.name: variant for variant in _VARIANTS}
"""All variants by name. Baselines work on the whole frame, as they were published."""
ABLATION = ("no-matching", "no-temporal", "no-spatial", "dreammotion", "no-mask")
"""The default board: DDS only, with spatial matching, with temporal, with both, and both without a mask."""


def known_variants(names: Iterable[str]) -> tuple[Variant, ...]:
    """The variants of these names, in their order, each once. Raises `ConfigError`."""
    wanted = list(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in VARIANTS]
    if unknown or not wanted:
        said = f"there is no variant {', '.join(unknown)}" if unknown else "no variant was chosen"
        raise ConfigError(f"{said}; known are: {', '.join(VARIANTS)}")
    return tuple(VARIANTS[name] for name in wanted)
