"""`DreamMotionPipeline`: from a clip, a mask and two prompts to an edited clip; and the checks before.

`stream` is the only implementation; the call, the command line and the page consume it.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dreammotion_core.config import MAX_PROMPT_CHARACTERS, EditConfig
from dreammotion_core.errors import (
    ConfigError,
    KeySiteError,
    MaskError,
    PromptError,
    StateError,
    VideoError,
)
from dreammotion_core.finishing import Finishing, encoded, grown_mask
from dreammotion_core.memory import device_failures_explained
from dreammotion_core.method.baselines import method_for
from dreammotion_core.method.distillation import latent_mask, object_shares
from dreammotion_core.method.editing import EditState, EditTask, Method, PromptEmbeds, advance
from dreammotion_core.method.keys import KeySite, matching_modules
from dreammotion_core.method.parameterization import seeded_generator
from dreammotion_core.method.prior import Backend, RendersInStages
from dreammotion_core.method.source_cache import SourceCache
from dreammotion_core.method.windows import Windows
from dreammotion_core.models.catalog import load_backend
from dreammotion_core.models.placement import LoadOptions
from dreammotion_core.spec import ModelSpec, length_words
from dreammotion_core.states import EditRequest, RequestedObject, StateFolder
from dreammotion_core.values import (
    EditEvent,
    EditOutput,
    Finished,
    Frames,
    Mask,
    Notice,
    Preview,
    StageDone,
    Started,
    StepDone,
    Video,
    checked_mask,
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
        target_prompt: str | Sequence[str],
        mask: NDArray[np.generic] | Sequence[NDArray[np.generic]] | None = None,
        config: EditConfig | None = None,
        state: StateFolder | None = None,
        origin: Mapping[str, Any] | None = None,
        cuts: Sequence[int] = (),
    ) -> EditOutput:
        """Run `stream` to its end and return the result; same arguments and errors."""
        for event in self.stream(
            video,
            source_prompt=source_prompt,
            target_prompt=target_prompt,
            mask=mask,
            config=config,
            state=state,
            origin=origin,
            cuts=cuts,
        ):
            if isinstance(event, Finished):
                return event.output
        raise AssertionError("a stream ends with Finished or an exception")

    def stream(
        self,
        video: Video,
        *,
        source_prompt: str,
        target_prompt: str | Sequence[str],
        mask: NDArray[np.generic] | Sequence[NDArray[np.generic]] | None = None,
        config: EditConfig | None = None,
        state: StateFolder | None = None,
        origin: Mapping[str, Any] | None = None,
        cuts: Sequence[int] = (),
        begin: Branching | None = None,
    ) -> Generator[EditEvent, None, None]:
        """Edit a clip and report what happens. Close the generator to stop after the current step.

        Args:
            video: the source clip; `spec.trimmed` gives the lengths that the model takes. One that is longer
                than the model sees at once is edited in windows.
            source_prompt: what the clip shows; the words that differ in the target prompt are what changes.
            mask: (F, H, W) or (H, W) at the clip's size, True on the object. Required unless
                `config.use_mask` is False. For several objects, that may touch, a sequence of masks and one
                of target prompts, each of which describes the whole clip with its own object changed.
            config: the settings; None takes those of the model that fit the words, and a notice says which.
            state: where the edit is kept after its steps. If it is there already, it goes on from its last
                step, to the same result.
            origin: what is known about the clip and the mask besides, such as the file and the clicks, as
                plain JSON values; it goes into `EditOutput.request`.
            cuts: first frame of every scene but the first, 0-based. They matter in clips longer than one
                window alone: no window crosses one.
            begin: the state to begin from instead of the source; see `branch`.

        Yields:
            `Started`; `Notice`s; for each step `StepDone`, sometimes a `Preview`, and a `Notice` when steps
            begin to save memory; for each later stage of a cascade `StageDone`; and `Finished`. Every preview
            and every stage is a complete result at the source's size.

        Raises:
            InputError: if clip, mask, prompts or settings cannot be used; `StateError` if it is the state.
            BackendError: if the model fails, memory runs out or the device fails.
            NumericsError: if the optimisation diverges.
        """
        since = time.perf_counter()
        if isinstance(target_prompt, str):
            targets, masks = [target_prompt], [mask]
        else:
            targets, masks = list(target_prompt), [] if mask is None else list(mask)
        prompts = (source_prompt, *targets)
        with state or nullcontext():
            # 1. Check everything before any work, encode clip and prompts, and find the state to begin from.
            edit = self._begin(video, prompts, masks, config, state, origin, cuts, begin)
            task, finish, reached, notices = edit.task, edit.finish, edit.state, edit.notices
            yield self._started(edit)
            yield from notices

            # 2. Advance the state to the last step.
            steps = advance(self.backend, task, reached, method=edit.method, source_cache=self.source_cache)
            for step_done, reached in steps:
                news = list(news_about(self.backend, told=notices))
                if state and (
                    lost := state.keep(reached, seconds=edit.seconds + time.perf_counter() - since)
                ):
                    news.append(lost)
                    notices.append(lost)
                yield step_done
                yield from news
                if is_preview_due(step_done, task.config):
                    yield Preview(step_done.step, finish(reached.latents))

            # 3. Finish: decode, restore the size, keep the source outside the mask, and measure that.
            frames = finish(reached.latents)
            for stage in self._later_stages(
                reached.latents, finish, ", ".join(prompts[1:]), task.config, state
            ):
                yield stage
                frames = stage.frames
        seconds = edit.seconds + time.perf_counter() - since
        said = (source_prompt, "; ".join(targets))
        yield Finished(self._output(edit, frames, said, reached, seconds))

    def result_at(self, video: Video, *, state: StateFolder, step: int) -> Preview:
        """The clip as of a step whose state is kept, decoded: a complete result.

        Raises:
            StateError: if there is no such state, or it belongs to another clip or model.
        """
        with state:
            edit = self._reopened(video, state)
            return Preview(step, edit.finish(state.state(step, edit.task.source_latents).latents))

    def branch(
        self,
        video: Video,
        *,
        state: StateFolder,
        step: int,
        target_prompt: str | Sequence[str] | None = None,
        into: StateFolder | None = None,
        **changes: Any,
    ) -> Generator[EditEvent, None, None]:
        """Go on from a kept step with another target prompt or other settings; it yields as `stream`.

        With a source cache, the source branch of the steps that follow is not computed again.

        Args:
            into: where the branch itself is kept.
            changes: of the settings.

        Raises:
            StateError: if there is no such state, or it belongs to another clip or model.
        """
        with state:
            edit = self._reopened(video, state)
            begin = Branching(edit.request, state.state(step, edit.task.source_latents))
        request = edit.request
        config = request.config.with_changes(**changes)
        if config.method != request.config.method or config.num_optimization_steps <= step:
            raise ConfigError(
                f"a branch after step {step} needs more steps than that and the method of the edit, "
                f"{request.config.method}; got {config.num_optimization_steps} steps of {config.method}"
            )
        yield from self.stream(
            video,
            source_prompt=request.source_prompt,
            target_prompt=request.target_prompt if target_prompt is None else target_prompt,
            mask=request.mask,  # type: ignore[arg-type]
            config=config,
            state=into,
            origin=request.origin,
            cuts=request.cuts,
            begin=begin,
        )

    def _reopened(self, video: Video, folder: StateFolder) -> _Edit:
        """The edit of a folder as it was asked for; `StateError` if clip or model are others."""
        request = folder.request()
        if request is None:
            raise StateError(f"{folder.path} holds no edit; name the folder that one was kept in")
        prompts = (request.source_prompt, *(each.target_prompt for each in request.objects))
        masks, asked = [each.mask for each in request.objects], (request.origin, request.cuts)
        edit = self._begin(video, prompts, masks, request.config, None, *asked)
        folder.check_same_edit(request, replace(edit.request, parent=request.parent))
        return replace(edit, request=request)

    def _begin(
        self,
        video: Video,
        prompts: tuple[str, ...],
        masks: Sequence[Any],
        config: EditConfig | None,
        folder: StateFolder | None,
        origin: Mapping[str, Any] | None,
        cuts: Sequence[int],
        begin: Branching | None = None,
    ) -> _Edit:
        source_prompt, *targets = prompts
        for target_prompt in targets:
            check_prompts(source_prompt=source_prompt, target_prompt=target_prompt)
        if not targets or len(masks) != len(targets):
            raise PromptError(
                f"there are {len(targets)} target prompts for {len(masks)} objects; pass one for each object"
            )
        config, notices = self._settled(prompts, video, config, folder)
        check_fits(video, self.spec, config)
        if len(masks) > 1 and not (config.use_mask and config.method == "dreammotion"):
            raise ConfigError("several objects need their masks and the method dreammotion")
        grown = [mask_to_edit(each, video, config) for each in masks]
        key_sites = self._key_sites(config)
        method = method_for(config, backend=self.backend)
        notices += notices_about(video, prompts, self.backend, config=config)
        objects = [
            RequestedObject(target, checked_mask(each, len(video), video.size) if config.use_mask else None)
            for target, each in zip(targets, masks, strict=True)
        ]
        request = EditRequest.of(
            video,
            self.backend,
            source_prompt=source_prompt,
            objects=tuple(objects),
            config=config,
            origin=origin or {},
            cuts=tuple(int(cut) for cut in cuts),
            parent=begin and {"request": begin.request.to_dict(), "step": begin.state.step},
        )
        if folder:
            request, news = folder.begin(request)
            notices += news
        task = self._task(video, prompts, grown, config, key_sites, cuts)
        stretches = windows_of(len(video), self.backend, config).stretches()
        finish = Finishing.prepare(
            self.backend,
            video,
            task.source_latents,
            union(grown),
            config,
            stretches=stretches,
            cuts=cuts,
            objects=grown,
        )
        state, seconds = begin.state if begin else EditState(task.source_latents), 0.0
        if folder:
            kept_state, seconds, news = folder.newest(task.source_latents)
            state, notices = kept_state or state, notices + news
        return _Edit(task, method, finish, request, state, seconds, notices)

    def _settled(
        self, prompts: Sequence[str], video: Video, config: EditConfig | None, folder: StateFolder | None
    ) -> tuple[EditConfig, list[Notice]]:
        """The settings with a drawn seed, that of the folder if it has one, and what chose them."""
        notices: list[Notice] = []
        if config is None:
            choices = [self.spec.choose_preset(prompts[0], each, size=video.size) for each in prompts[1:]]
            choice = min(choices, key=lambda each: each.preset)  # "fast" if one of them needs it
            config = self.spec.config(choice.preset, mask_grow=choice.mask_grow)
            notices.append(Notice("preset", choice.describe(config)))
        if folder and config.seed < 0 and (kept := folder.request()):
            config = config.with_changes(seed=kept.config.seed)
        return config.with_drawn_seed(), notices

    @device_failures_explained()
    def _task(
        self,
        video: Video,
        prompts: Sequence[str],
        selected: Sequence[Mask],
        config: EditConfig,
        sites: Sequence[KeySite],
        cuts: Sequence[int] = (),
    ) -> EditTask:
        grid = self.spec.fit_size(video.size, scale=config.resolution_scale)
        windows = windows_of(len(video), self.backend, config, cuts)
        latents = encoded(self.backend, video.frames, grid, windows.stretches())
        source, target, *others = map(self.backend.encode_prompt, prompts)
        embeds = PromptEmbeds(source, target, self.backend.encode_prompt(config.negative_prompt))
        groups = self.backend.frame_groups(len(video))
        region = latent_mask(union(selected), latents, groups=groups) if config.use_mask else None
        further = []
        if others:
            further = [*zip(others, object_shares(selected, latents, groups=groups)[1:], strict=True)]
        return EditTask(latents, embeds, region, config, sites, windows, further)

    def _later_stages(
        self,
        latents: Tensor,
        finish: Finishing,
        prompt: str,
        config: EditConfig,
        folder: StateFolder | None,
    ) -> Iterator[StageDone]:
        if not isinstance(self.backend, RendersInStages) or config.last_stage == self.spec.stages[0]:
            return
        rendered = self.backend.render(
            latents,
            size=self.spec.fit_size(finish.source.size, scale=config.resolution_scale),
            prompt=prompt,
            negative_prompt=config.negative_prompt,
            generator=seeded_generator(config.seed),
            journal=folder.samplings() if folder else None,
        )
        for index, name in enumerate(self.spec.stages[1:], start=2):
            with device_failures_explained():
                frames = finish.finish(next(rendered).frames)
            yield StageDone(name, index, len(self.spec.stages), frames)
            if name == config.last_stage:
                return

    def _started(self, edit: _Edit) -> Started:
        task = edit.task
        return Started(
            config=task.config,
            model=self.spec.name,
            num_steps=task.config.num_optimization_steps,
            latent_shape=tuple(task.source_latents.shape),
            key_sites=tuple(matching_modules(self.backend.denoiser, task.key_sites)),
            mask=edit.finish.region if task.config.use_mask else None,
            precision=self.spec.precision,
            losses=edit.state.losses,
        )

    def _output(
        self, edit: _Edit, frames: Frames, prompts: tuple[str, str], state: EditState, seconds: float
    ) -> EditOutput:
        video = edit.finish.source
        return EditOutput(
            Video(frames, video.fps, video.audio, tuple(edit.notices)),
            edit.finish.region,
            *prompts,
            edit.task.config,
            self.spec.name,
            losses=state.losses,
            seconds=seconds,
            max_difference_outside=edit.finish.difference_outside(frames),
            precision=self.spec.precision,
            request=edit.request.to_dict(),
        )

    def _key_sites(self, config: EditConfig) -> Sequence[KeySite]:
        if config.key_sites is None:
            return self.backend.key_sites
        layout = self.backend.key_sites[0]
        sites = [replace(layout, pattern=pattern) for pattern in config.key_sites]
        try:
            matching_modules(self.backend.denoiser, sites)  # refuses wrong names before any work
        except KeySiteError as error:
            if self.spec.name == "toybox" and any("_block" in site.pattern for site in sites):
                raise KeySiteError(
                    f"{error}. The U-Net called toybox in version 0.1.0 is toybox-unet"
                ) from error
            raise
        return sites


@dataclass(frozen=True, eq=False)
class _Edit:
    """An edit that is about to run: what every step shares, and the state to begin from."""

    task: EditTask
    method: Method
    finish: Finishing
    request: EditRequest
    state: EditState
    seconds: float
    notices: list[Notice]


@dataclass(frozen=True, eq=False)
class Branching:
    """A kept state from which another edit goes on, and the request that led to it."""

    request: EditRequest
    state: EditState


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
    """Raise `VideoError` for a number of frames, or `ConfigError` for a stage, that the model cannot take.

    `ConfigError` also for windows that are too long, and for an overlap that leaves nothing of them.
    """
    if len(video) < 2:
        raise VideoError("the clip has one frame; a video edit needs at least 2 frames")
    spec.check_length(len(video))
    if config.window > spec.max_frames:
        raise ConfigError(
            f"window is {config.window}; {spec.label} sees at most {spec.max_frames} frames at once"
        )
    if config.window and (config.window < 2 or spec.trimmed(config.window) != config.window):
        raise ConfigError(f"window is {config.window}; choose {length_words(spec)} frames")
    length = spec.window(len(video), asked=config.window)
    if config.overlap % spec.frame_step or config.overlap >= length:
        step = f", in steps of {spec.frame_step}" if spec.frame_step > 1 else ""
        raise ConfigError(
            f"overlap is {config.overlap}; windows of {length} frames can share 0 to {length - 1}{step}"
        )
    if config.last_stage is not None and config.last_stage not in spec.stages:
        known = f"choose one of: {', '.join(spec.stages)}" if spec.stages else "leave it out"
        raise ConfigError(f"{spec.label} has no stage {config.last_stage!r}; {known}")


def windows_of(num_frames: int, backend: Backend, config: EditConfig, cuts: Sequence[int] = ()) -> Windows:
    """The windows of a clip, in latent frames; `cuts` are the first frames of its later scenes."""
    groups, spec = backend.frame_groups(num_frames), backend.spec
    last_frames = [group[-1] for group in groups]
    return Windows(
        num_frames=len(groups),
        length=len(backend.frame_groups(spec.window(num_frames, asked=config.window))),
        overlap=config.overlap // spec.frame_step,
        # A latent frame belongs to the scene of its last frame.
        cuts=tuple(sorted({bisect_left(last_frames, cut) for cut in cuts if cut < num_frames})),
        seed=config.seed,
    )


def mask_to_edit(mask: NDArray[np.generic] | None, video: Video, config: EditConfig) -> Mask:
    """(F, H, W) bool: the checked and grown mask, all True if switched off; `MaskError` if it is unfit."""
    if not config.use_mask:
        return np.ones(video.frames.shape[:3], dtype=bool)
    if mask is None:
        raise MaskError("there is no mask; click the object, or switch the mask off to edit the whole frame")
    return grown_mask(checked_mask(mask, len(video), video.size), pixels=config.mask_grow)


def union(masks: Sequence[Mask]) -> Mask:
    """Where any of the (F, H, W) masks is."""
    return masks[0] if len(masks) == 1 else np.logical_or.reduce(masks)


def is_preview_due(done: StepDone, config: EditConfig) -> bool:
    """Whether a preview is asked for after a step; the last step has the result instead."""
    interval = config.preview_interval
    return interval > 0 and done.step < done.num_steps and (done.step == 1 or done.step % interval == 0)


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
