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
    """A question about an edit, and how to read its figure.

    Attributes:
        name: short stable name.
        label: column heading.
        question: in plain words.
        better: which way is better; ``"neither"`` where an edit is free to change it.
        scale: how to read the figure, in plain words.
        digits: decimals shown to people.
    """

    name: str
    label: str
    question: str
    better: Better
    scale: str
    digits: int = 3

    @property
    def arrow(self) -> str:
        """Which way is better, as an arrow; empty for neither."""
        return {"higher": "↑", "lower": "↓", "neither": ""}[self.better]


_METRICS = (
    Metric(
        name="text_alignment",
        label="Text-Align",
        question="Does it show what the target prompt says?",
        better="higher",
        scale="cosine of picture and text, by one judge; only comparable with the same judge",
    ),
    Metric(
        name="frame_consistency",
        label="Frame-Con",
        question="Do neighbouring frames belong together?",
        better="higher",
        scale="cosine of neighbouring frames; 1 is a still picture",
    ),
    Metric(
        name="motion_fidelity",
        label="Motion-Fidelity",
        question="Does the object move as it did?",
        better="higher",
        scale="1 is the same motion, 0 unrelated motion",
    ),
    Metric(
        name="motion_fidelity_frame",
        label="Motion-Fidelity, whole frame",
        question="Does everything in the frame move as it did?",
        better="higher",
        scale="1 is the same motion, 0 unrelated motion",
    ),
    Metric(
        name="frame_lpips",
        label="Frame-LPIPS",
        question="How different does it look from the source?",
        better="lower",
        scale="0 is the same picture",
    ),
    Metric(
        name="ssim_inside",
        label="SSIM inside",
        question="How much of the object's fine structure is left?",
        better="neither",
        scale="1 is the same picture",
    ),
    Metric(
        name="psnr_inside",
        label="PSNR inside",
        question="How far are the object's pixels from the source's?",
        better="neither",
        scale="decibels; ∞ is the same picture",
        digits=1,
    ),
    Metric(
        name="ssim_outside",
        label="SSIM outside",
        question="How much of the background's structure is left?",
        better="higher",
        scale="1 is the same picture",
    ),
    Metric(
        name="psnr_outside",
        label="PSNR outside",
        question="How far are the background's pixels from the source's?",
        better="higher",
        scale="decibels; ∞ is the same picture",
        digits=1,
    ),
    Metric(
        name="background_difference",
        label="Background change",
        question="Did anything outside the selection change?",
        better="lower",
        scale="largest change of any pixel, in 8-bit levels; 0 is untouched",
        digits=0,
    ),
    Metric(
        name="warping_error",
        label="Warping error (thousandths)",
        question="Does the object shimmer where the source only moves?",
        better="lower",
        scale="squared RGB difference along the source's motion; compare with the source's own",
        digits=2,
    ),
    Metric(
        name="colour_jitter",
        label="Colour jitter",
        question="Does the object's colour flicker as a whole?",
        better="lower",
        scale="CIELAB units a frame; below 1 is hardly seen",
        digits=2,
    ),
    Metric(
        name="mask_overlap",
        label="Mask IoU",
        question="Did the object keep its outline?",
        better="higher",
        scale="1 is the same outline",
    ),
)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _METRICS}
"""All metrics by name, in the order of a report."""


def known_metrics(names: Iterable[str] | None) -> tuple[Metric, ...]:
    """The metrics of these names, in the order of `METRICS`; None takes all.

    Raises:
        ConfigError: if a name is unknown.
    """
    wanted = set(METRICS) if names is None else set(names)
    if unknown := sorted(wanted - set(METRICS)):
        raise ConfigError(f"there is no metric {', '.join(unknown)}; known are: {', '.join(METRICS)}")
    return tuple(metric for name, metric in METRICS.items() if name in wanted)


@dataclass(frozen=True)
class Variant:
    """A change of settings to compare.

    Attributes:
        name: short stable name.
        label: its name for people.
        changes: settings and their values.
    """

    name: str
    label: str
    changes: Mapping[str, Any] = field(default_factory=dict)

    def of(self, config: EditConfig) -> EditConfig:
        """The shared settings with this variant's changes.

        Raises:
            ConfigError: if a change does not fit the other settings.
        """
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
    """The variants of these names, in their order, each once.

    Raises:
        ConfigError: if a name is unknown, or there are no names.
    """
    wanted = list(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in VARIANTS]
    if unknown or not wanted:
        said = f"there is no variant {', '.join(unknown)}" if unknown else "no variant was chosen"
        raise ConfigError(f"{said}; known are: {', '.join(VARIANTS)}")
    return tuple(VARIANTS[name] for name in wanted)
