"""What has to hold, and what should be known, before an edit begins, so that nothing fails late."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from dreammotion_core.method.prior import Backend, ModelSpec
from dreammotion_core.config import MAX_PROMPT_CHARACTERS, EditConfig
from dreammotion_core.errors import ConfigError, PromptError, VideoError
from dreammotion_core.masks import checked_mask, grown_mask
from dreammotion_core.values import Mask, Notice, Video

SPARING = Notice(
    "memory_spared",
    "A step did not fit into memory, so that parts of it are now computed twice instead of being kept: the "
    "result is the same, each step takes a little longer.",
)


def check_prompts(*, source_prompt: str, target_prompt: str) -> None:
    """Refuse prompts that cannot lead anywhere.

    Raises:
        PromptError: if one is empty or too long, or both say the same.
    """
    for name, prompt in (("source", source_prompt), ("target", target_prompt)):
        if not isinstance(prompt, str) or not prompt.strip():
            raise PromptError(f"the {name} prompt is empty; describe in a few words what the clip shows")
        if len(prompt) > MAX_PROMPT_CHARACTERS:
            raise PromptError(
                f"the {name} prompt has {len(prompt):,} characters; at most {MAX_PROMPT_CHARACTERS:,} are "
                "accepted, and a sentence is enough"
            )
    if source_prompt.split() == target_prompt.split():
        raise PromptError(
            "both prompts are the same, so nothing would change; say in the target prompt what to change"
        )


def check_fits(video: Video, spec: ModelSpec, config: EditConfig) -> None:
    """Refuse clips of a length that the model does not take, and settings for what it does not have.

    Raises:
        VideoError: if the clip has fewer frames than a video has, more than the model edits at once, or
            a number in between that it cannot take.
        ConfigError: if it shall stop after a stage that the model does not have.
    """
    if len(video) < 2:
        raise VideoError("the clip has one frame; a video edit needs at least 2 frames")
    spec.check_length(len(video))
    if config.last_stage is not None and config.last_stage not in spec.stages:
        known = f"choose one of: {', '.join(spec.stages)}" if spec.stages else "leave it out"
        raise ConfigError(f"{spec.label} has no stage {config.last_stage!r}; {known}")


def check_timesteps(config: EditConfig, backend: Backend) -> None:
    """Refuse timesteps at which nothing is left of a clip, as the last one of CogVideoX.

    Raises:
        ConfigError: if the range holds one.
    """
    last = config.timestep_range[1] - 1
    alpha, _ = backend.signal_and_noise(torch.tensor([last]), torch.zeros(1))
    if alpha == 0:
        raise ConfigError(
            f"timestep_range ends at {last + 1}, and at timestep {last} {backend.spec.label} sees noise "
            f"alone; end it at {last} or below"
        )


def selection(mask: NDArray[np.generic] | None, video: Video, config: EditConfig) -> Mask:
    """What may change: the checked and grown mask, or everything where the mask is switched off.

    Returns:
        (F, H, W) bool.

    Raises:
        MaskError: if there is no mask but one is needed, or if it does not fit the clip.
    """
    if not config.use_mask:
        return np.ones(video.frames.shape[:3], dtype=bool)
    if mask is None:
        mask = np.zeros(video.size, dtype=bool)
    return grown_mask(checked_mask(mask, len(video), video.size), pixels=config.mask_grow)


def notices_about(
    video: Video, prompts: Sequence[str], backend: Backend, *, config: EditConfig
) -> list[Notice]:
    """What the user should know about a clip and all of its prompts before it is edited."""
    notices, spec = list(video.notices), backend.spec
    grid = spec.fit_size(video.size, scale=config.resolution_scale)
    if grid != video.size:
        text = (
            f"The clip is {video.size[1]}x{video.size[0]}; {spec.label} works at "
            f"{grid[1]}x{grid[0]}, and the edited part is scaled back to the clip's size."
        )
        notices.append(Notice("resized", text))
    for prompt in (*prompts, config.negative_prompt):
        notices += [n for n in backend.check_prompt(prompt) if n not in notices]
    return notices


def news_about(backend: Backend, *, told: list[Notice]) -> Iterator[Notice]:
    """What has become worth knowing since an edit began.

    Args:
        backend: the video prior at work.
        told: what the user knows already; the news is added to it.
    """
    if backend.checkpointing.is_sparing and SPARING not in told:
        told.append(SPARING)
        yield SPARING
