"""The ablation board: one clip edited by several variants of the settings, same seed, measured alike."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dreammotion_core.method.prior import ModelSpec
from dreammotion_core.checks import selection
from dreammotion_core.config import EditConfig
from dreammotion_core.events import EditEvent, Finished
from dreammotion_core.methods.variants import ABLATION, Variant, known_variants
from dreammotion_core.metrics.evaluation import evaluate_edit
from dreammotion_core.metrics.instruments import Instruments
from dreammotion_core.metrics.measured_clip import MeasuredClip
from dreammotion_core.metrics.measurement import Measurement
from dreammotion_core.values import EditOutput, Mask, Video


class EditSource(Protocol):
    """What edits a clip: a `DreamMotionPipeline`, or who passes the work on to one."""

    @property
    def spec(self) -> ModelSpec:
        """The model."""
        ...

    def stream(
        self,
        video: Video,
        *,
        source_prompt: str,
        target_prompt: str,
        mask: NDArray[np.bool_] | None,
        config: EditConfig,
    ) -> Generator[EditEvent, None, None]:
        """As `DreamMotionPipeline.stream`."""
        ...


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
    """Edit a clip by each variant in turn. Close the generator to stop after the current step.

    Args:
        pipe: edits the clip once for each variant; the measuring is done here.
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
    config, chosen = (config or pipe.spec.config()).with_drawn_seed(), known_variants(variants)
    wanted = None if names is None else list(names)
    selected: Mask = selection(mask, video, replace(config, use_mask=True))
    source = MeasuredClip(video.frames)
    prompts = {"source_prompt": source_prompt, "target_prompt": target_prompt}
    for index, variant in enumerate(chosen, start=1):
        events = pipe.stream(video, **prompts, mask=mask, config=variant.of(config))
        output: EditOutput | None = None
        with closing(events):
            for event in events:
                if isinstance(event, Finished):
                    output = event.output
                else:
                    yield VariantEvent(variant, index, len(chosen), event)
        # Only now, so that a device that is lent for the edit does not wait for it.
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
