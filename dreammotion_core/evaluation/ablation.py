"""Variants of the method side by side: parts switched off and baselines, on one clip, seed and model."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.config import EditConfig
from dreammotion_core.evaluation.catalog import ABLATION, Variant, known_variants
from dreammotion_core.evaluation.measuring import Instruments, MeasuredClip, Measurement, evaluate_edit
from dreammotion_core.finishing import changeable
from dreammotion_core.pipeline import mask_to_edit
from dreammotion_core.spec import ModelSpec
from dreammotion_core.values import EditEvent, EditOutput, Finished, Mask, Video


class EditSource(Protocol):
    """Something that edits a clip: a `DreamMotionPipeline`, or one behind a queue."""

    @property
    def spec(self) -> ModelSpec:
        """Facts about the model."""

    def stream(
        self,
        video: Video,
        *,
        source_prompt: str,
        target_prompt: str,
        mask: NDArray[np.bool_] | None,
        config: EditConfig,
        origin: Mapping[str, Any] | None = None,
    ) -> Generator[EditEvent, None, None]:
        """Events of an edit, as `DreamMotionPipeline.stream` yields them."""


@dataclass(frozen=True, eq=False)
class VariantResult:
    """A finished variant, measured on the mask that all variants share."""

    variant: Variant
    output: EditOutput
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True, eq=False)
class VariantEvent:
    """Any event of a variant's edit but `Finished`, which a `VariantResult` replaces; `index` from 1."""

    variant: Variant
    index: int
    num_variants: int
    event: EditEvent


def run_ablation(
    pipe: EditSource,
    *,
    video: Video,
    source_prompt: str,
    target_prompt: str,
    mask: NDArray[np.bool_],
    config: EditConfig | None = None,
    variants: Iterable[str] = ABLATION,
    instruments: Instruments | None = None,
    names: Iterable[str] | None = None,
) -> Generator[VariantEvent | VariantResult, None, None]:
    """Edit a clip by each variant in turn, and evaluate each edit.

    A `VariantResult` ends each variant. Close the generator to stop after the current step.

    Args:
        mask: (F, H, W) or (H, W), the object; variants without a mask are evaluated on it too.
        config: settings that all variants share, None for the model's own; a seed of -1 is drawn once.
        variants: names from `VARIANTS`.
        names: metrics wanted; None takes all.

    Raises:
        InputError: if clip, mask, prompts or names cannot be used.
        BackendError: if the model cannot do its part; `NumericsError` if it leaves the finite numbers.
    """
    if config is None:
        config = pipe.spec.config(source_prompt=source_prompt, target_prompt=target_prompt, size=video.size)
    config = config.with_drawn_seed()
    chosen = known_variants(variants)
    wanted = None if names is None else list(names)
    selected: Mask = changeable(mask_to_edit(mask, video, replace(config, use_mask=True)), config)
    source = MeasuredClip(video.frames)
    for index, variant in enumerate(chosen, start=1):
        events = pipe.stream(
            video,
            source_prompt=source_prompt,
            target_prompt=target_prompt,
            mask=mask,
            config=variant.of(config),
        )
        output: EditOutput | None = None
        with closing(events):
            for event in events:
                if isinstance(event, Finished):
                    output = event.output
                else:
                    yield VariantEvent(variant, index, len(chosen), event)
        # After the edit is closed, so that a device lent for it does not wait for the metrics.
        if output is not None:
            measurements = evaluate_edit(
                source,
                edited=output.frames,
                mask=selected,
                target_prompt=target_prompt,
                names=wanted,
                instruments=instruments,
            )
            yield VariantResult(variant, output, measurements)
