"""The measures known by name: what each says, and which way is better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from dreammotion_core.errors import ConfigError

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a measure says.

    Attributes:
        name: short stable name.
        label: as a column heading.
        question: what it answers, in plain words.
        better: which way is better; ``"neither"`` where an edit is free to change it.
        scale: how to read the figure, in plain words.
        digits: behind the point, for people.
    """

    name: str
    label: str
    question: str
    better: Better
    scale: str
    digits: int = 3

    @property
    def arrow(self) -> str:
        """Which way is better, as an arrow; empty where neither is."""
        return {"higher": "↑", "lower": "↓", "neither": ""}[self.better]


_KNOWN = (
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
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _KNOWN}
"""All measures by name, in the order of a report."""


def known_metrics(names: Iterable[str] | None) -> tuple[Metric, ...]:
    """The measures of some names, in the order of `METRICS`; all for None.

    Raises:
        ConfigError: if there is no measure of a name.
    """
    wanted = set(METRICS) if names is None else set(names)
    if unknown := sorted(wanted - set(METRICS)):
        raise ConfigError(f"there is no metric {', '.join(unknown)}; known are: {', '.join(METRICS)}")
    return tuple(metric for name, metric in METRICS.items() if name in wanted)
