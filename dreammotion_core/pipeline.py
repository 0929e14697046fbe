"""`DreamMotionPipeline`: from a clip, a mask and two prompts to an edited clip; and the checks before.

`stream` is the only implementation; the call, the command line and the page consume it.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dreammotion_core.config import MAX_PROMPT_CHARACTERS, EditConfig
from dreammotion_core.errors import ConfigError, MaskError, PromptError, VideoError
from dreammotion_core.finishing import Finishing, to_model
from dreammotion_core.masks import checked_mask, grown_mask, latent_mask
from dreammotion_core.memory import device_failures_explained
from dreammotion_core.method.baselines import method_for
from dreammotion_core.method.editing import EditTask, PromptEmbeds
from dreammotion_core.method.keys import KeySite, matching_modules
from dreammotion_core.method.parameterization import seeded_generator
from dreammotion_core.method.prior import Backend, RendersInStages
from dreammotion_core.method.source_cache import SourceCache, computation_of
from dreammotion_core.models.catalog import load_backend
from dreammotion_core.models.placement import LoadOptions
from dreammotion_core.spec import ModelSpec
from dreammotion_core.values import (
    EditEvent,
    EditOutput,
    Finished,
    Mask,
    Notice,
    Preview,
    StageDone,
    Started,
    StepLosses,
    Video,
)


class DreamMotionPipeline:
    """Rewrites the appearance of a masked object in a clip and keeps motion, structure and background.

    Args:
        backend: the loaded model; see `from_pretrained`.
        source_cache: keeps the model's answers about the source, so that another target prompt for the same
            clip, seed and settings costs about two fifths less. The result is the same bits.
    """

    def __init__(self, backend: Backend, *, source_cache: SourceCache | None = None) -> None:
        self.backend, self.source_cache = backend, source_cache

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str = "toybox",
        *,
        options: LoadOptions | None = None,
        device: torch.device | str | None = None,
        source_cache: SourceCache | None = None,
    ) -> Self:
        """Load a model.

        Args:
            name_or_path: a name from `list_models`, a folder in diffusers' layout, or
                ``owner/name@revision`` on the hub.
            device: where the model works; it decides the precision if the options name none. None loads the
                model for a GPU if there is one, but leaves it on the CPU until `to` moves it.

        Raises:
            ConfigError: if there is no such device.
            ModelLoadError: if the model is unknown, incomplete, damaged or unreachable.
        """
        pipe = cls(load_backend(name_or_path, options=options, device=device), source_cache=source_cache)
        return pipe if device is None else pipe.to(device)

    @property
    def spec(self) -> ModelSpec:
        """The facts about the loaded model."""
        return self.backend.spec

    def to(self, device: torch.device | str) -> Self:
        """Move the model to a device."""
        with device_failures_explained():
            self.backend.to(device)
        return self

    def __call__(
        self,
        video: Video,
        *,
        source_prompt: str,
        target_prompt: str,
        mask: NDArray[np.generic] | None = None,
        config: EditConfig | None = None,
    ) -> EditOutput:
        """Run `stream` to its end and return the result; same arguments and errors."""
        for event in self.stream(
            video, source_prompt=source_prompt, target_prompt=target_prompt, mask=mask, config=config
        ):
            if isinstance(event, Finished):
                return event.output
        raise AssertionError("a stream ends with Finished or an exception")

    def stream(
        self,
        video: Video,
        *,
        source_prompt: str,
        target_prompt: str,
        mask: NDArray[np.generic] | None = None,
        config: EditConfig | None = None,
    ) -> Generator[EditEvent, None, None]:
        """Edit a clip and report what happens. Close the generator to stop after the current step.

        Args:
            video: the source clip; `spec.fit_length` gives the lengths that the model takes.
            source_prompt: what the clip shows; the words that differ in the target prompt are what changes.
            mask: (F, H, W) or (H, W) at the clip's size, True on the object. Required unless
                `config.use_mask` is False.
            config: the settings; None takes those of the model that fit the words, and a notice says which.

        Yields:
            `Started`; `Notice`s; for each step `StepDone`, sometimes a `Preview`, and a `Notice` when steps
            begin to save memory; for each later stage of a cascade `StageDone`; and `Finished`. Every preview
            and every stage is a complete result at the source's size.

        Raises:
            InputError: if clip, mask, prompts or settings cannot be used.
            BackendError: if the model fails, memory runs out or the device fails.
            NumericsError: if the optimisation diverges.
        """
        started, prompts = time.perf_counter(), (source_prompt, target_prompt)
        # 1. Check everything before any work.
        check_prompts(source_prompt=source_prompt, target_prompt=target_prompt)
        chosen: list[Notice] = []
        if config is None:
            choice = self.spec.choose_preset(*prompts, size=video.size)
            config = self.spec.config(choice.preset, mask_grow=choice.mask_grow)
            chosen.append(Notice("preset", choice.describe(config)))
        config = config.with_drawn_seed()
        check_fits(video, self.spec, config)
        selected = mask_to_edit(mask, video, config)
        key_sites = self._key_sites(config)
        method = method_for(config, backend=self.backend)
        notices = chosen + notices_about(video, prompts, self.backend, config=config)

        # 2. Resize to the model's grid, encode clip and prompts.
        task = self._task(video, prompts, selected, config, key_sites)
        finish = Finishing.prepare(self.backend, video, task.source_latents, selected, config)
        begun = self._started(task, finish.region)
        yield begun
        yield from notices

        # 3. Optimise the latents.
        losses: list[StepLosses] = []
        for step_done, latents in method(self.backend, task, source_cache=self.source_cache):
            losses.append(step_done.losses)
            yield step_done
            yield from news_about(self.backend, told=notices)
            step, interval = step_done.step, config.preview_interval
            is_due = interval > 0 and (step == 1 or step % interval == 0)
            if is_due and step < step_done.num_steps:
                yield Preview(step, finish(latents))

        # 4. Decode, restore the size, keep the source outside the mask, and measure that.
        frames = finish(latents)
        for stage in self._later_stages(latents, finish, target_prompt, config):
            yield stage
            frames = stage.frames
        output = EditOutput(
            Video(frames, video.fps, video.audio, tuple(notices)),
            finish.region,
            *prompts,
            config,
            self.spec.name,
            losses=tuple(losses),
            seconds=time.perf_counter() - started,
            max_difference_outside=finish.difference_outside(frames),
            precision=self.spec.precision,
            computation=begun.computation,
        )
        yield Finished(output)

    @device_failures_explained()
    def _task(
        self,
        video: Video,
        prompts: tuple[str, str],
        selected: Mask,
        config: EditConfig,
        sites: Sequence[KeySite],
    ) -> EditTask:
        grid = self.spec.fit_size(video.size, scale=config.resolution_scale)
        latents = self.backend.encode_video(to_model(video.frames, grid))
        embeds = PromptEmbeds(*map(self.backend.encode_prompt, (*prompts, config.negative_prompt)))
        groups = self.backend.frame_groups(len(video))
        region = latent_mask(selected, latents, groups=groups) if config.use_mask else None
        return EditTask(latents, embeds, region, config, sites)

    def _later_stages(
        self, latents: Tensor, finish: Finishing, prompt: str, config: EditConfig
    ) -> Iterator[StageDone]:
        if not isinstance(self.backend, RendersInStages) or config.last_stage == self.spec.stages[0]:
            return
        rendered = self.backend.render(
            latents,
            size=self.spec.fit_size(finish.source.size, scale=config.resolution_scale),
            prompt=prompt,
            negative_prompt=config.negative_prompt,
            generator=seeded_generator(config.seed),
        )
        for index, name in enumerate(self.spec.stages[1:], start=2):
            with device_failures_explained():
                frames = finish.finish(next(rendered).frames)
            yield StageDone(name, index, len(self.spec.stages), frames)
            if name == config.last_stage:
                return

    def _started(self, task: EditTask, region: Mask) -> Started:
        return Started(
            config=task.config,
            model=self.spec.name,
            num_steps=task.config.num_optimization_steps,
            latent_shape=tuple(task.source_latents.shape),
            key_sites=tuple(matching_modules(self.backend.denoiser, task.key_sites)),
            mask=region if task.config.use_mask else None,
            precision=self.spec.precision,
            computation=computation_of(self.backend),
        )

    def _key_sites(self, config: EditConfig) -> Sequence[KeySite]:
        if config.key_sites is None:
            return self.backend.key_sites
        layout = self.backend.key_sites[0]
        sites = [replace(layout, pattern=pattern) for pattern in config.key_sites]
        matching_modules(self.backend.denoiser, sites)  # refuses wrong names before any work
        return sites


SPARING = Notice(
    "memory_spared",
    "A step did not fit into memory, so parts of it are now computed twice instead of being kept. The result "
    "is the same; each step takes a little longer.",
)


def check_prompts(*, source_prompt: str, target_prompt: str) -> None:
    """Raise `PromptError` if a prompt is empty or too long, or if both are the same."""
    for name, prompt in (("source", source_prompt), ("target", target_prompt)):
        if not isinstance(prompt, str) or not prompt.strip():
            raise PromptError(f"the {name} prompt is empty; describe in a few words what the clip shows")
        if any("\ud800" <= character <= "\udfff" for character in prompt):
            raise PromptError(f"the {name} prompt holds half a character, as of a cut emoji; type it again")
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
    """Raise `VideoError` for a number of frames, or `ConfigError` for a stage, that the model cannot take."""
    if len(video) < 2:
        raise VideoError("the clip has one frame; a video edit needs at least 2 frames")
    spec.check_length(len(video))
    if config.last_stage is not None and config.last_stage not in spec.stages:
        known = f"choose one of: {', '.join(spec.stages)}" if spec.stages else "leave it out"
        raise ConfigError(f"{spec.label} has no stage {config.last_stage!r}; {known}")


def mask_to_edit(mask: NDArray[np.generic] | None, video: Video, config: EditConfig) -> Mask:
    """(F, H, W) bool: the checked and grown mask, all True if switched off; `MaskError` if it is unfit."""
    if not config.use_mask:
        return np.ones(video.frames.shape[:3], dtype=bool)
    if mask is None:
        raise MaskError("there is no mask; click the object, or switch the mask off to edit the whole frame")
    return grown_mask(checked_mask(mask, len(video), video.size), pixels=config.mask_grow)


def notices_about(
    video: Video, prompts: Sequence[str], backend: Backend, *, config: EditConfig
) -> list[Notice]:
    """Notices about a clip and its prompts, before the edit."""
    notices, spec = list(video.notices), backend.spec
    grid = spec.fit_size(video.size, scale=config.resolution_scale)
    if grid != video.size:
        sizes = f"The clip is {video.size[1]}x{video.size[0]}; {spec.label} works at {grid[1]}x{grid[0]}"
        text = f"{sizes}, and the edited part is scaled back to the clip's size."
        notices.append(Notice("resized", text))
    for prompt in (*prompts, config.negative_prompt):
        notices += [n for n in backend.check_prompt(prompt) if n not in notices]
    return notices


def news_about(backend: Backend, *, told: list[Notice]) -> Iterator[Notice]:
    """Notices that came up since the edit began; they are added to `told`, the notices so far."""
    if backend.checkpointing.is_sparing and SPARING not in told:
        told.append(SPARING)
        yield SPARING
