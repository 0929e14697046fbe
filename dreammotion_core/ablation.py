"""The ablation board: one clip edited by several variants of the settings, same seed, measured alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.checks import selection
from dreammotion_core.config import EditConfig
from dreammotion_core.events import EditEvent, Finished, Started
from dreammotion_core.methods.variants import ABLATION, Variant, known_variants
from dreammotion_core.metrics.evaluation import evaluate_edit
from dreammotion_core.metrics.instruments import Instruments
from dreammotion_core.metrics.measured_clip import MeasuredClip
from dreammotion_core.metrics.measurement import Measurement
from dreammotion_core.pipeline import DreamMotionPipeline
from dreammotion_core.values import EditOutput, Mask, Video


@dataclass(frozen=True, eq=False)
class VariantResult:
    """A finished variant.

    Attributes:
        variant: what was changed.
        output: the edit.
        measurements: of it, on the mask that all variants share.
    """

    variant: Variant
    output: EditOutput
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True, eq=False)
class VariantEvent:
    """Something happened while a variant ran.

    Attributes:
        variant: which.
        index: 1-based number of it.
        num_variants: in all.
        event: of its edit; `Finished` never comes, a `VariantResult` does instead.
    """

    variant: Variant
    index: int
    num_variants: int
    event: EditEvent


def run_ablation(
    pipe: DreamMotionPipeline,
    *,
    video: Video,
    source_prompt: str,
    target_prompt: str,
    mask: NDArray[np.generic],
    config: EditConfig | None = None,
    variants: Iterable[str] = ABLATION,
    instruments: Instruments | None = None,
    names: Iterable[str] | None = None,
) -> Iterator[VariantEvent | VariantResult]:
    """Edit a clip by each variant in turn. Close the iterator to stop after the current step.

    Args:
        pipe: the model.
        video: the source clip.
        source_prompt: what it shows.
        target_prompt: what it shall show.
        mask: (F, H, W) or (H, W), the object; variants without a mask are measured against it too.
        config: settings that all share, None for the model's usual ones; a seed is drawn once if it is to be.
        variants: names from `VARIANTS`.
        instruments: for `evaluate_edit`.
        names: of the measures wanted; None takes all.

    Yields:
        Events as they come, and a `VariantResult` at the end of each variant.

    Raises:
        InputError: if clip, mask, prompts or names cannot be used.
        BackendError: if the model cannot do its part.
        NumericsError: if an optimisation leaves the finite numbers.
    """
    config, chosen = config or pipe.spec.config(), known_variants(variants)
    wanted = None if names is None else list(names)
    selected: Mask = selection(mask, video, replace(config, use_mask=True))
    source = MeasuredClip(video.frames)
    for index, variant in enumerate(chosen, start=1):
        events = pipe.stream(
            video,
            source_prompt=source_prompt,
            target_prompt=target_prompt,
            mask=mask,
            config=variant.of(config),
        )
        for event in events:
            if isinstance(event, Finished):
                measurements = evaluate_edit(
                    source,
                    edited=event.output.frames,
                    mask=selected,
                    target_prompt=target_prompt,
                    names=wanted,
                    instruments=instruments,
                )
                yield VariantResult(variant, event.output, measurements)
                continue
            if isinstance(event, Started):
                config = config.with_changes(seed=event.seed)
            yield VariantEvent(variant, index, len(chosen), event)
